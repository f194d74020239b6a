//! What has expired goes to an archive before it is forgotten: which partition that is, what lies in it, and when it may be forgotten.
//!
//! A partition that has expired takes no new requests. When those that have not ended are moved out of it, it does not change any more, so
//! its log can be read in parts, and again, with the same result.

use super::{
    Store,
    contents::Contents,
    keeper::{EndedRow, Expired, History, Keeper, Moved, NotInstalled},
    record::{Attempt, Held, RecordBytes, Reply, Requests},
};
use crate::{
    alarm::Due,
    table::{Damaged, Family, Header, Segments, read_blob},
    time::Timestamp,
};
use ic_stable_structures::Memory;
use std::{rc::Rc, time::Duration};

impl<M: Memory> Store<M> {
    /// Its history; from now on it has archives.
    pub(crate) fn begin_archiving(&self) -> Result<History, Damaged> {
        let inner = self.inner()?;
        let memory = &inner.table.segments.memory;
        let is_archived = Header::is_archived(memory);
        if !is_archived {
            Header::write_archived(memory);
        }
        Ok(History {
            incarnation: inner.header().incarnation,
            forgotten_until: inner.forgotten_until,
            is_archived,
        })
    }

    /// Has `keeper` keep what is forgotten, for as long as this heap lives.
    pub(crate) fn keep_with(&self, keeper: Rc<dyn Keeper>) {
        let _ = self.keeper.set(keeper);
    }

    /// Who keeps what is forgotten, if the policy says that somebody does.
    pub(crate) fn keeper(&self) -> Result<Option<Rc<dyn Keeper>>, NotInstalled> {
        match (self.policy.archive, self.keeper.get()) {
            (None, _) => Ok(None),
            (Some(_), Some(keeper)) => Ok(Some(Rc::clone(keeper))),
            (Some(_), None) => Err(NotInstalled),
        }
    }

    /// The oldest partition, if it has expired and was retained for as long as the policy says.
    pub(crate) fn first_expired(&self, now: Timestamp) -> Result<Option<Expired>, Damaged> {
        let inner = self.inner()?;
        let oldest = inner.requests.oldest();
        let until = oldest.map(|oldest| oldest.until);
        let expired = until
            .filter(|until| self.is_over(*until, now))
            .map(|until| Expired {
                number: inner.requests.oldest_number(inner.header()),
                until,
            });
        Ok(expired)
    }

    fn is_over(&self, until: u64, now: Timestamp) -> bool {
        Timestamp::from_nanos(until).plus(self.policy.retention) < now
    }

    /// How many requests wait for an archive.
    pub(crate) fn requests_to_ship(&self, now: Timestamp) -> u64 {
        let inner = self.inner.borrow();
        let over = (inner.requests.iter()).take_while(|it| self.is_over(it.until, now));
        over.map(|partition| u64::from(partition.rows)).sum()
    }

    /// Brings up to so many requests that have not ended out of the oldest partition, for another window.
    pub(crate) fn move_open_out(
        &self,
        expired: Expired,
        most: usize,
        now: Timestamp,
    ) -> Result<Moved, Damaged> {
        let mut inner = self.inner()?;
        inner.is_oldest(expired)?;
        let open = inner.open_in(expired.number, most.saturating_add(1));
        for attempt in open.iter().take(most) {
            if !inner.keep_on(*attempt, now, &self.policy)? {
                return Ok(Moved::NoRoom);
            }
        }
        Ok(match open.len() > most {
            true => Moved::Some,
            false => Moved::All,
        })
    }

    /// Shows the requests of the oldest partition that have ended, in the order of its log, from an address on or from its beginning, until
    /// `take` says that it does not take one: then the address of that one. `None` at the end.
    ///
    /// What lies in the log for nothing is not shown: requests that were moved or did nothing, and journals.
    pub(crate) fn read_ended(
        &self,
        expired: Expired,
        from: Option<u64>,
        with_replies: bool,
        mut take: impl FnMut(&EndedRow<'_>) -> bool,
    ) -> Result<Option<u64>, Damaged> {
        let inner = self.inner()?;
        let partition = inner.is_oldest(expired)?;
        let (segments, drops) = (&inner.table.segments, partition.own.drops);
        let (mut bytes, mut from) = (vec![], from);
        // A chain that leads back into itself has no end.
        for _ in 0..=partition.log_segments() {
            let (start, next) = partition.read_log(segments, from, &mut bytes)?;
            let mut at = 0;
            while let Some(row) = Requests::row(bytes.get(at..).unwrap_or_default())? {
                let row_bytes = bytes.get(at..at + row.length).ok_or(Damaged)?;
                if row_bytes[0] != super::journal::MARK {
                    let address = start + at as u64;
                    let reading = (address, with_replies.then_some(drops));
                    if !show(segments, row_bytes, reading, &mut take)? {
                        return Ok(Some(address));
                    }
                }
                at += row.length;
            }
            let Some(next) = next else {
                return Ok(None);
            };
            from = Some(next);
        }
        Err(Damaged)
    }

    /// Forgets the oldest partition: an archive has all of it that has ended, and nothing else is in it.
    ///
    /// # Errors
    /// [`Damaged`] if that is not so, and nothing has changed.
    pub(crate) fn forget_archived(&self, expired: Expired, now: Timestamp) -> Result<(), Damaged> {
        let mut inner = self.inner()?;
        inner.is_oldest(expired)?;
        let is_empty = inner.open_in(expired.number, 1).is_empty();
        if !is_empty || !self.is_over(expired.until, now) {
            return Err(Damaged);
        }
        inner.forget_oldest()?;
        #[cfg(feature = "http")]
        self.sample(&inner, now);
        Ok(())
    }

    /// The timer that must be set so that what expires next is shipped. From now on it counts as set.
    pub(crate) fn next_shipping(&self, now: Timestamp) -> Option<Due> {
        self.policy.archive?;
        let first = self.inner.borrow().first_expiry()?;
        let expired = first.plus(self.policy.retention);
        let due = expired.plus(Duration::from_nanos(1));
        self.shipping.set(due.max(self.ships_after.get()), now)
    }
}

/// Shows one row if it is of a request that has ended; whether it was taken, or is of none.
#[inline]
fn show<M: Memory>(
    segments: &Segments<M>,
    bytes: &[u8],
    (address, drops): (u64, Option<u32>),
    take: &mut impl FnMut(&EndedRow<'_>) -> bool,
) -> Result<bool, Damaged> {
    let Some(ended) = RecordBytes::new(bytes).ended()? else {
        return Ok(true);
    };
    let blob;
    let reply = match (ended.reply, drops) {
        (None, _) | (_, None) => None,
        (Some(reply), Some(drops)) => match reply.bytes {
            Held::Here(bytes) => Some(bytes),
            Held::There(place, length) if place.drops == drops => {
                blob = read_blob(segments, place.address, length)?;
                Some(blob.as_slice())
            }
            Held::There(..) => None,
        }
        .map(|bytes| Reply {
            bytes,
            is_for_retries: reply.is_for_retries,
        }),
    };
    Ok(take(&EndedRow {
        address,
        id: ended.tail,
        since: ended.since,
        fingerprint: ended.fingerprint,
        reply,
    }))
}

impl<M: Memory> Contents<M> {
    /// The partition, if it is the oldest.
    fn is_oldest(
        &self,
        expired: Expired,
    ) -> Result<&crate::table::Partition<super::record::Totals>, Damaged> {
        let oldest = self.requests.oldest().ok_or(Damaged)?;
        let number = self.requests.oldest_number(self.header());
        match (number, oldest.until) == (expired.number, expired.until) {
            true => Ok(oldest),
            false => Err(Damaged),
        }
    }

    /// Requests in a partition that have not ended, no more than so many.
    fn open_in(&self, number: u16, most: usize) -> Vec<Attempt> {
        let still = self.open.in_partition(number);
        let running = (self.running.iter())
            .filter(|(attempt, running)| {
                // Those that are durable are among the others.
                let open = self.open.get(Attempt(**attempt));
                running.partition == number && open.is_none_or(|open| !open.is_durable)
            })
            .map(|(attempt, _)| Attempt(*attempt));
        still.chain(running).take(most).collect()
    }
}
