//! What a chunk is, and what an archive's answer to it means. No calls, no clock.

use super::{
    entry::{FULL_BYTES, Head, Id, Kept, SHORT_BYTES, entry_bytes, full_digests, short_digests},
    packed::{Packed, sent_bytes},
    policy::Most,
    wire::{Append, Appended, Position},
};
use crate::{
    policy::Keep,
    store::{Damaged, EndedRow, Expired, Reply, Store},
};
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// A reply that is longer is archived as its digest.
const MOST_REPLY_BYTES: usize = 1_500_000;

/// No more bytes of replies are read for a chunk: their digests take their time.
const MOST_READ: usize = 8 << 20;

/// Bytes that go before each reply.
const LENGTH_BYTES: usize = 4;
const DIGEST_BYTES: usize = 32;

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
        if keep == Keep::Ids {
            chunk.entries.entries.reserve(most.bytes);
        }
        let mut read = 0;
        chunk.next = store.read_ended(partition, from, |row| {
            let reply = match keep {
                Keep::Ids => None,
                Keep::Digests | Keep::Replies => row.reply()?,
            };
            let kept = kept(reply.as_ref(), keep);
            let ends = match end {
                Some(end) => end == Some(row.address),
                None => {
                    read += reply.as_ref().map_or(0, |reply| reply.bytes.len());
                    let needed = most_reply_bytes_of(kept, reply.as_ref());
                    let fits = chunk.count < most.entries
                        && chunk.bytes_with(keep, needed) <= most.bytes
                        && read <= MOST_READ;
                    chunk.count > 0 && !fits
                }
            };
            if !ends {
                chunk.push(&row, keep, kept);
                if let Some(reply) = reply {
                    chunk.push_reply(kept, &reply.bytes);
                }
            }
            Ok(!ends)
        })?;
        match end {
            Some(end) if end != chunk.next => Err(Damaged),
            _ => Ok(chunk),
        }
    }

    /// How many bytes it has with one entry more, and so many of its reply.
    #[inline(always)]
    fn bytes_with(&self, keep: Keep, reply_bytes: usize) -> usize {
        let sent_bytes = sent_bytes(entry_bytes(keep != Keep::Ids));
        self.entries.bytes_with(sent_bytes) + self.replies.len() + reply_bytes
    }

    #[inline(always)]
    fn push<M: Memory>(&mut self, row: &EndedRow<'_, M>, keep: Keep, kept: Kept) {
        let (id, fingerprint) = (u128::from_le_bytes(row.id()), row.fingerprint());
        let entries = &mut self.entries.entries;
        match keep {
            Keep::Ids => {
                let mut entry = [0; sent_bytes(SHORT_BYTES)];
                entry[..16].copy_from_slice(&id.to_le_bytes());
                entry[16..].copy_from_slice(&short_digests(&fingerprint));
                entries.extend_from_slice(&entry);
            }
            Keep::Digests | Keep::Replies => {
                let mut entry = [0; sent_bytes(FULL_BYTES)];
                entry[..16].copy_from_slice(&id.to_le_bytes());
                entry[16..].copy_from_slice(&full_digests(&fingerprint));
                entries.extend_from_slice(&entry);
            }
        }
        self.entries
            .push_head(Head::of(row.since(), &fingerprint, kept));
        self.count += 1;
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

    /// The ids of its entries.
    pub(super) fn ids(&self, keep: Keep) -> Vec<Id> {
        let width = sent_bytes(entry_bytes(keep != Keep::Ids));
        let entries = self.entries.entries.chunks_exact(width);
        let mut ids = Vec::with_capacity(entries.len());
        ids.extend(entries.filter_map(|entry| entry.first_chunk::<16>()));
        ids
    }

    /// As it is sent to an archive that is there.
    pub(super) fn append(self, from: Position) -> Append {
        let (entries, times) = self.entries.done();
        let [entries, times, replies] = [entries, times, self.replies].map(ByteBuf::from);
        Append {
            from,
            entries,
            times,
            replies,
        }
    }
}

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
