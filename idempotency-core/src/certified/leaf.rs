//! What a leaf of the tree says of a request.

use crate::{table::field, time::Timestamp};

/// Bytes of a leaf's content. With what a leaf is hashed with, they fit into one block of SHA-256.
pub(crate) const LEAF_BYTES: usize = 33;

/// Bytes of BLAKE3 that stand for a reply.
const DIGEST_BYTES: usize = 24;

/// What became of a request, as it is certified.
///
/// ```text
/// offset  bytes  field
///      0      1  state: 1 begun, 2 done with a reply, 3 done without one, 4 did nothing, 5 acknowledged
///      1      8  when it began, ns, little-endian; 0 in states 4 and 5
///      9     24  first bytes of the BLAKE3 hash of the reply; 0 in all states but 2
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// It has begun, and has not ended.
    Begun { since: Timestamp },
    /// It was executed, with this reply.
    Done {
        executed_at: Timestamp,
        reply: [u8; DIGEST_BYTES],
    },
    /// It was executed, and its reply was not kept.
    WithoutReply { executed_at: Timestamp },
    /// It began and did nothing: there is no record of it.
    DidNothing,
    /// It was executed, and its client has acknowledged the reply: there is no record of it.
    Acknowledged,
}

/// What stands for a reply.
pub(crate) fn digest(reply: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&blake3::hash(reply).as_bytes()[..DIGEST_BYTES]);
    digest
}

impl Leaf {
    pub(crate) fn bytes(self) -> [u8; LEAF_BYTES] {
        let none = (Timestamp::from_nanos(0), [0; DIGEST_BYTES]);
        let (state, (time, digest)) = match self {
            Self::Begun { since } => (1, (since, none.1)),
            Self::Done { executed_at, reply } => (2, (executed_at, reply)),
            Self::WithoutReply { executed_at } => (3, (executed_at, none.1)),
            Self::DidNothing => (4, none),
            Self::Acknowledged => (5, none),
        };
        let mut bytes = [0; LEAF_BYTES];
        bytes[0] = state;
        bytes[1..9].copy_from_slice(&time.as_nanos().to_le_bytes());
        bytes[9..].copy_from_slice(&digest);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEAF_BYTES] = bytes.try_into().ok()?;
        let mut rest = &bytes[1..];
        let time = Timestamp::from_nanos(u64::from_le_bytes(field(&mut rest)));
        let leaf = match bytes[0] {
            1 => Self::Begun { since: time },
            2 => Self::Done {
                executed_at: time,
                reply: field(&mut rest),
            },
            3 => Self::WithoutReply { executed_at: time },
            4 => Self::DidNothing,
            5 => Self::Acknowledged,
            _ => return None,
        };
        // What has another form was not made here.
        (leaf.bytes() == *bytes).then_some(leaf)
    }
}
