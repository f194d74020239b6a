//! What an archive keeps of a request besides its id.

/// What an archive keeps of a request that it remembers for ever. The id, the time of execution and the fingerprint it always keeps, in
/// 39 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Nothing more. A late retry gets [`ReplyDropped`](crate::IdempotencyError::ReplyDropped), with the time at which the request ran.
    Ids,
    /// The digest of the reply, too: 26 bytes more. A late retry gets the same as with [`Keep::Ids`], and whoever has kept the reply can show
    /// that it was this one.
    Digests,
    /// The reply, too: 10 bytes and the reply more. A late retry gets the first reply.
    Replies,
}
