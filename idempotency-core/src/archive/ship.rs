//! What a chunk is, and what an archive's answer to it means. No calls, no clock.

use super::{
    entry::{Head, Id, Kept, full_digests, sent_bytes, short_as_sent, short_digests},
    packed::{MOST_OPEN_BYTES, Packed},
    policy::{MOST_BYTES, Most},
    wire::{Append, Appended, Position},
};
use crate::{
    policy::Keep,
    store::{Damaged, Expired, Reply, Store},
};
use ic_stable_structures::Memory;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// A reply that is longer is archived as its digest.
const MOST_REPLY_BYTES: usize = 1_500_000;

/// No more bytes of replies are read for a chunk: their digests take their time.
const MOST_READ: usize = 8 << 20;

/// Bytes that go before each reply.
const LENGTH_BYTES: usize = 4;
const DIGEST_BYTES: usize = 32;

/// Bytes of an entry without a reply.
const SENT: usize = sent_bytes(false);

/// Entries, and their replies, to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    entries: Packed,
    replies: Vec<u8>,
    /// How many entries.
    pub(super) count: u64,
    /// Where the next one begins; `None` at the end of the partition.
    pub(super) next: Option<u64>,
}

impl Chunk {
    /// The chunk of a partition that begins at an address; where it has to end, if that is known. The same each time.
    pub(super) fn read<M: Memory>(
        store: &Store<M>,
        partition: Expired,
        from: Option<u64>,
        keep: Keep,
        (end, most): (Option<Option<u64>>, Most),
    ) -> Result<Self, Damaged> {
        let mut chunk = Self::default();
        chunk.next = match keep {
            Keep::Ids => chunk.read_ids(store, partition, from, (end, most)),
            Keep::Digests | Keep::Replies => {
                chunk.read_replies(store, partition, from, keep, (end, most))
            }
        }?;
        match end {
            Some(end) if end != chunk.next => Err(Damaged),
            _ => Ok(chunk),
        }
    }

    /// All that is archived with ids alone is read by this, so what does not change from row to row is worked out before.
    fn read_ids<M: Memory>(
        &mut self,
        store: &Store<M>,
        partition: Expired,
        from: Option<u64>,
        (end, most): (Option<Option<u64>>, Most),
    ) -> Result<Option<u64>, Damaged> {
        let Packed { entries, times } = &mut self.entries;
        entries.reserve(most.bytes.min(MOST_BYTES));
        // A chunk whose end is known is as long as it is.
        let most = if end.is_some() { Most::ALL } else { most };
        let most_entries = usize::try_from(most.entries).unwrap_or(usize::MAX);
        // From so many bytes of entries on there is no more room; times take some of it.
        let full = most_entries.saturating_mul(SENT).max(1);
        let mut full_with_times = full;
        let end = end.flatten().unwrap_or(u64::MAX);
        let mut last = None;
        let next = store.read_ended(partition, from, |row| {
            if row.address == end || entries.len() >= full_with_times {
                return Ok(false);
            }
            let fingerprint = row.fingerprint();
            let entry = short_as_sent(row.id(), short_digests(&fingerprint));
            entries.extend_from_slice(&entry);
            let alike = (row.since(), fingerprint.shape());
            if last == Some(alike) {
                times.push_again();
            } else {
                last = Some(alike);
                times.push(Head::of(row.since(), &fingerprint, Kept::Nothing));
                let others = SENT + times.bytes() + MOST_OPEN_BYTES;
                full_with_times = full.min(most.bytes.saturating_sub(others).saturating_add(1));
            }
            Ok(true)
        })?;
        self.count = (entries.len() / SENT) as u64;
        Ok(next)
    }

    fn read_replies<M: Memory>(
        &mut self,
        store: &Store<M>,
        partition: Expired,
        from: Option<u64>,
        keep: Keep,
        (end, most): (Option<Option<u64>>, Most),
    ) -> Result<Option<u64>, Damaged> {
        let mut read = 0;
        store.read_ended(partition, from, |row| {
            let reply = row.reply()?;
            let kept = kept(reply.as_ref(), keep);
            let ends = match end {
                Some(end) => end == Some(row.address),
                None => {
                    read += reply.as_ref().map_or(0, |reply| reply.bytes.len());
                    let needed = most_reply_bytes_of(kept, reply.as_ref());
                    let fits = self.count < most.entries
                        && self.bytes() + sent_bytes(true) + needed <= most.bytes
                        && read <= MOST_READ;
                    self.count > 0 && !fits
                }
            };
            if ends {
                return Ok(false);
            }
            let fingerprint = row.fingerprint();
            let Packed { entries, times } = &mut self.entries;
            entries.extend_from_slice(&row.id());
            entries.extend_from_slice(&full_digests(&fingerprint));
            times.push(Head::of(row.since(), &fingerprint, kept));
            if let Some(reply) = reply {
                self.push_reply(kept, &reply.bytes);
            }
            self.count += 1;
            Ok(true)
        })
    }

    /// The most bytes that it has.
    fn bytes(&self) -> usize {
        let Packed { entries, times } = &self.entries;
        entries.len() + times.bytes() + MOST_OPEN_BYTES + self.replies.len()
    }

    fn push_reply(&mut self, kept: Kept, bytes: &[u8]) {
        let digest;
        let bytes = match kept {
            Kept::Nothing => return,
            Kept::Digest => {
                digest = Sha256::digest(bytes);
                digest.as_slice()
            }
            Kept::First | Kept::ForRetries => bytes,
        };
        (self.replies).extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.replies.extend_from_slice(bytes);
    }

    /// As it is sent to an archive that is there.
    pub(super) fn append(self, from: Position) -> Append {
        self.entries.append(from, self.count, self.replies)
    }

    /// The ids of its entries, if it is of ids alone.
    pub(super) fn ids(&self) -> Vec<Id> {
        let mut ids = vec![];
        add_ids(&mut ids, &self.entries.entries, Keep::Ids);
        ids
    }
}

/// Adds the ids of entries as they are sent. Their first bytes may be others: no filter looks at them.
pub(super) fn add_ids(ids: &mut Vec<Id>, entries: &[u8], keep: Keep) {
    match keep {
        // They begin with all that there is.
        Keep::Ids => ids.extend_from_slice(entries.as_chunks().0),
        Keep::Digests | Keep::Replies => {
            let entries = entries.chunks_exact(sent_bytes(true));
            ids.extend(entries.filter_map(|entry| entry.first_chunk::<16>()));
        }
    }
}

const _: () = assert!(SENT == 16);

#[inline(always)]
fn kept(reply: Option<&Reply<Cow<'_, [u8]>>>, keep: Keep) -> Kept {
    match (keep, reply) {
        (Keep::Ids, _) | (_, None) => Kept::Nothing,
        (Keep::Digests, Some(_)) => Kept::Digest,
        (Keep::Replies, Some(reply)) if reply.bytes.len() > MOST_REPLY_BYTES => Kept::Digest,
        (Keep::Replies, Some(Reply { is_for_retries, .. })) => match is_for_retries {
            true => Kept::ForRetries,
            false => Kept::First,
        },
    }
}

#[inline(always)]
fn most_reply_bytes_of(kept: Kept, reply: Option<&Reply<Cow<'_, [u8]>>>) -> usize {
    match (kept, reply) {
        (Kept::Nothing, _) | (_, None) => 0,
        (Kept::Digest, _) => LENGTH_BYTES + DIGEST_BYTES,
        (Kept::First | Kept::ForRetries, Some(reply)) => LENGTH_BYTES + reply.bytes.len(),
    }
}

/// What is known of an archive when it is sent a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// It has confirmed so much.
    pub(super) from: Position,
    /// With the chunk it is here; or there, if an earlier attempt to send it was another.
    pub(super) after: [Position; 2],
}

/// Where an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has the chunk.
    Taken(Position),
    /// Where it was before the chunk.
    Before,
    /// It has more: this canister was rolled back to an earlier state.
    Ahead(Position),
    /// It has lost what it had confirmed.
    Behind,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The archive is here, and takes more.
    Stands(Standing),
    /// The archive is here, and takes no more.
    IsFull(Standing),
    /// It makes no sense, for this reason. Nothing follows.
    Nonsense(String),
}

impl Sent {
    fn standing(&self, found: Position) -> Standing {
        if self.after.contains(&found) {
            Standing::Taken(found)
        } else if found == self.from {
            Standing::Before
        } else if found.entries > self.from.entries {
            Standing::Ahead(found)
        } else {
            Standing::Behind
        }
    }

    /// What the answer to the chunk means.
    pub(super) fn judge(&self, answer: Appended) -> Meaning {
        match answer {
            Appended::Taken(found) | Appended::OutOfPlace(found) => match self.standing(found) {
                Standing::Before => {
                    Meaning::Nonsense("it neither took the chunk nor is elsewhere".to_owned())
                }
                standing => Meaning::Stands(standing),
            },
            Appended::Full(found) => Meaning::IsFull(self.standing(found)),
            Appended::Malformed(why) => {
                let why: String = why.chars().take(200).collect();
                Meaning::Nonsense(format!("it takes the chunk for none: {why}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteArray;

    fn position(entries: u64, digest: u8) -> Position {
        Position {
            entries,
            digest: ByteArray::new([digest; 16]),
        }
    }

    #[test]
    fn each_answer_means_one_thing() {
        let (before, after, earlier) = (position(10, 1), position(15, 2), position(13, 3));
        let sent = Sent {
            from: before,
            after: [after, earlier],
        };
        use Appended::{Full, Malformed, OutOfPlace, Taken};
        use Standing::{Ahead, Before, Behind};
        for (answer, expected) in [
            (Taken(after), Meaning::Stands(Standing::Taken(after))),
            (OutOfPlace(after), Meaning::Stands(Standing::Taken(after))),
            (
                OutOfPlace(earlier),
                Meaning::Stands(Standing::Taken(earlier)),
            ),
            (
                OutOfPlace(position(11, 9)),
                Meaning::Stands(Ahead(position(11, 9))),
            ),
            // As many, and others.
            (OutOfPlace(position(10, 9)), Meaning::Stands(Behind)),
            (OutOfPlace(position(9, 1)), Meaning::Stands(Behind)),
            (OutOfPlace(Position::default()), Meaning::Stands(Behind)),
            (Full(before), Meaning::IsFull(Before)),
            (Full(after), Meaning::IsFull(Standing::Taken(after))),
            (Full(position(9, 1)), Meaning::IsFull(Behind)),
            (
                Full(position(99, 1)),
                Meaning::IsFull(Ahead(position(99, 1))),
            ),
        ] {
            assert_eq!(sent.judge(answer.clone()), expected, "{answer:?}");
        }
        for answer in [
            Taken(before),
            OutOfPlace(before),
            Malformed("no".repeat(1_000)),
        ] {
            assert!(
                matches!(sent.judge(answer.clone()), Meaning::Nonsense(why) if why.len() < 300),
                "{answer:?}"
            );
        }
    }
}
