//! What has expired goes to an archive before it is forgotten: which partition that is, what lies in it, and when it may be forgotten.
//!
//! A partition that has expired takes no new requests. When those that have not ended are moved out of it, it does not change any more, so
//! its log can be read in parts, and again, with the same result.

use super::{
    Store,
    contents::Contents,
    keeper::{Expired, History, Keeper, Moved, NotInstalled},
    record::{Attempt, EndedBytes, Held, Reply, next_ended},
};
use crate::{
    alarm::Due,
    identity::Fingerprint,
    table::{Damaged, Header, Segments, read_blob},
    time::Timestamp,
};
use ic_stable_structures::Memory;
use std::{borrow::Cow, rc::Rc, time::Duration};

/// A request that has ended, as it lies in a log.
pub(crate) struct EndedRow<'a, M> {
    /// Where it lies.
    pub(crate) address: u64,
    bytes: EndedBytes<'a>,
    segments: &'a Segments<M>,
    /// How often its partition has given up its replies.
    drops: u32,
}

impl<'a, M: Memory> EndedRow<'a, M> {
    /// The last 16 bytes of its identity.
    #[inline(always)]
    pub(crate) fn id(&self) -> [u8; 16] {
        self.bytes.tail()
    }

    #[inline(always)]
    pub(crate) fn since(&self) -> Timestamp {
        self.bytes.since()
    }

    #[inline(always)]
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.bytes.fingerprint()
    }

    /// `None` if it was dropped.
    pub(crate) fn reply(&self) -> Result<Option<Reply<Cow<'a, [u8]>>>, Damaged> {
        let Some(Reply {
            bytes,
            is_for_retries,
        }) = self.bytes.reply()?
        else {
            return Ok(None);
        };
        let bytes = match bytes {
            Held::Here(bytes) => Cow::Borrowed(bytes),
            Held::There(place, length) if place.drops == self.drops => {
                Cow::Owned(read_blob(self.segments, place.address, length)?)
            }
            Held::There(..) => return Ok(None),
        };
        Ok(Some(Reply {
            bytes,
            is_for_retries,
        }))
    }
}

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
        mut take: impl FnMut(EndedRow<'_, M>) -> Result<bool, Damaged>,
    ) -> Result<Option<u64>, Damaged> {
        let inner = self.inner()?;
        let partition = inner.is_oldest(expired)?;
        let (segments, drops) = (&inner.table.segments, partition.own.drops);
        let (mut log, mut from) = (vec![], from);
        // A chain that leads back into itself has no end.
        for _ in 0..=partition.log_segments() {
            let (start, next) = partition.read_log(segments, from, &mut log)?;
            let mut rest = log.as_slice();
            while let Some((length, ended)) = next_ended(rest)? {
                let address = start + (log.len() - rest.len()) as u64;
                let row = |bytes| EndedRow {
                    address,
                    bytes,
                    segments,
                    drops,
                };
                if let Some(ended) = ended
                    && !take(row(ended))?
                {
                    return Ok(Some(address));
                }
                rest = rest.get(length..).ok_or(Damaged)?;
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
