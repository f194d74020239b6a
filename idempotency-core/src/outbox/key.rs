//! What is derived of a message's identity: the key by which the server recognises it, and the numbers for lane and scope.

use super::{
    message::{Message, mix},
    outcome::MessageId,
};
use crate::time::Timestamp;
use candid::Principal;
use uuid::Builder;

/// The length of a derived key.
pub(super) const LENGTH: usize = 36;

// What a hash is of, in its first byte.
pub(super) const LANE: u8 = 1;
pub(super) const SCOPE: u8 = 2;
const KEY: u8 = 3;

/// The idempotency key of an outbox's message: the same in each attempt, from each replica, and after each upgrade, as it hangs on nothing
/// but the canister, when and as which its outbox was made, the message's number in it, and when it was sent into it. The last is for a
/// canister that goes back to a snapshot: numbers come again then, and time does not.
///
/// It is 122 bits of BLAKE3 in the shape of a random UUID (version 4), as most servers take that: it is short enough for those with narrow
/// limits (Square 45 characters, Adyen 64, Stripe 255), and some refuse whatever is no UUID of this version. A version that says how it
/// was made would be of no use to a server, which compares keys and nothing else.
///
/// No canister can make its messages bear the key of another's, for which it would have to try 2^122 of them.
pub(crate) fn idempotency_key(
    canister: Principal,
    birth: [u64; 3],
    (id, created_at): (MessageId, Timestamp),
) -> String {
    let canister = canister.as_slice();
    // In one block of BLAKE3. What varies in length is last.
    let mut hashed = Vec::with_capacity(64);
    hashed.push(KEY);
    for word in birth {
        hashed.extend_from_slice(&word.to_le_bytes());
    }
    hashed.extend_from_slice(&id.as_u64().to_le_bytes());
    hashed.extend_from_slice(&created_at.as_nanos().to_le_bytes());
    hashed.extend_from_slice(canister);
    let hash = blake3::hash(&hashed);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// By what the answer to an outcall is found: of those that are under way at a time, each has another.
pub(super) fn ticket(birth: [u64; 3], message: &Message) -> u32 {
    let counts = u64::from(message.attempts) << 16 | u64::from(message.asked);
    let words = [birth[0], birth[1], birth[2], message.id.as_u64(), counts];
    let mixed = words.into_iter().fold(0, |mixed, word| mix(mixed ^ word));
    mixed as u32
}

/// 8 bytes of BLAKE3, never all zeros.
pub(super) fn number(hashed: &[u8]) -> u64 {
    let hash = blake3::hash(hashed);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes).max(1)
}
