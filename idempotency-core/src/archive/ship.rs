//! What a chunk is, and what an archive's answer to it means. No calls, no clock.

use super::{
    entry::{Entry, Id, Kept, SHORT_BYTES, entry_bytes},
    order::order,
    wire::{Appended, Position},
};
use crate::{
    policy::Keep,
    store::{Damaged, EndedRow, Expired, Reply, Store},
};
use ic_stable_structures::Memory;
use sha2::{Digest as _, Sha256};

/// A reply that is longer is archived as its digest.
const MOST_REPLY_BYTES: usize = 1_500_000;

/// No more bytes of replies are read for a chunk: their digests take their time.
const MOST_READ: usize = 8 << 20;

/// Bytes that go before each reply.
const LENGTH_BYTES: usize = 4;
const DIGEST_BYTES: usize = 32;

/// Entries, and their replies, as they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Bytes of an entry.
    pub(super) width: usize,
    pub(super) entries: Vec<u8>,
    pub(super) replies: Vec<u8>,
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
        (end, most_bytes): (Option<Option<u64>>, usize),
    ) -> Result<Self, Damaged> {
        let mut read = 0;
        let has_replies = keep != Keep::Ids;
        let mut chunk = Self {
            width: entry_bytes(has_replies),
            ..Self::default()
        };
        chunk
            .entries
            .reserve(if has_replies { 1 << 16 } else { most_bytes });
        let next = store.read_ended(partition, from, has_replies, |row| match end {
            Some(end) if end == Some(row.address) => false,
            Some(_) => {
                chunk.push(row, keep);
                true
            }
            None => {
                read += row.reply.map_or(0, |reply| reply.bytes.len());
                let is_first = chunk.entries.is_empty();
                let needed = chunk.width + most_reply_bytes_of(row, keep);
                let fits = chunk.bytes() + needed <= most_bytes && read <= MOST_READ;
                if is_first || fits {
                    chunk.push(row, keep);
                }
                is_first || fits
            }
        })?;
        if end.is_some_and(|end| end != next) {
            return Err(Damaged);
        }
        chunk.next = next;
        if !has_replies {
            chunk.sort();
        }
        Ok(chunk)
    }

    /// Puts entries without replies in the order of their ids: so neither the filter nor the archive needs to.
    fn sort(&mut self) {
        let (entries, _) = self.entries.as_chunks::<SHORT_BYTES>();
        let mut sorted = Vec::with_capacity(self.entries.len());
        for index in order(&self.entries, SHORT_BYTES) {
            sorted.extend_from_slice(&entries[index as usize]);
        }
        self.entries = sorted;
    }

    fn bytes(&self) -> usize {
        self.entries.len() + self.replies.len()
    }

    #[inline(always)]
    fn push(&mut self, row: &EndedRow<'_>, keep: Keep) {
        let kept = kept(row, keep);
        let entry = Entry {
            id: row.id,
            executed_at: row.since,
            fingerprint: row.fingerprint,
            kept,
        };
        match keep {
            Keep::Ids => self.entries.extend_from_slice(&entry.short()),
            Keep::Digests | Keep::Replies => self.entries.extend_from_slice(&entry.full()),
        }
        match (kept, row.reply) {
            (Kept::Nothing, _) | (_, None) => {}
            (Kept::Digest, Some(reply)) => self.push_reply(&Sha256::digest(reply.bytes)),
            (Kept::First | Kept::ForRetries, Some(reply)) => self.push_reply(reply.bytes),
        }
    }

    fn push_reply(&mut self, bytes: &[u8]) {
        (self.replies).extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.replies.extend_from_slice(bytes);
    }

    /// How many entries it has.
    pub(super) fn count(&self) -> u64 {
        (self.entries.len() / self.width.max(1)) as u64
    }

    /// Their ids.
    pub(super) fn ids(&self) -> Vec<Id> {
        let entries = self.entries.chunks_exact(self.width.max(1));
        let mut ids = Vec::with_capacity(entries.len());
        ids.extend(entries.filter_map(|entry| entry.first_chunk::<16>()));
        ids
    }
}

fn kept(row: &EndedRow<'_>, keep: Keep) -> Kept {
    match (keep, row.reply) {
        (Keep::Ids, _) | (_, None) => Kept::Nothing,
        (Keep::Digests, Some(_)) => Kept::Digest,
        (Keep::Replies, Some(reply)) if reply.bytes.len() > MOST_REPLY_BYTES => Kept::Digest,
        (Keep::Replies, Some(Reply { is_for_retries, .. })) => match is_for_retries {
            true => Kept::ForRetries,
            false => Kept::First,
        },
    }
}

fn most_reply_bytes_of(row: &EndedRow<'_>, keep: Keep) -> usize {
    match (kept(row, keep), row.reply) {
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
