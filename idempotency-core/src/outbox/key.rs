//! What is derived of a message's identity: the key by which the server recognises it, and the numbers for lane and scope.

use candid::Principal;
use uuid::Builder;

/// The length of a derived key.
pub(super) const LENGTH: usize = 36;

// What a hash is of, in its first byte.
pub(super) const LANE: u8 = 1;
pub(super) const SCOPE: u8 = 2;
const KEY: u8 = 3;

/// The idempotency key of an outbox's message: the same in each attempt, from each replica, and after each upgrade, as it hangs on nothing
/// but the canister, when its outbox was made and the message's number in it.
///
/// It is 122 bits of BLAKE3 in the shape of a random UUID (version 4), as most servers take that: it is short enough for those with narrow
/// limits (Square 45 characters, Adyen 64, Stripe 255), and some refuse whatever is no UUID of this version. A version that says how it
/// was made would be of no use to a server, which compares keys and nothing else.
///
/// No canister can make its messages bear the key of another's, for which it would have to try 2^122 of them.
pub(crate) fn idempotency_key(canister: Principal, outbox_born: u64, number: u64) -> String {
    let canister = canister.as_slice();
    // In one block of BLAKE3. What varies in length is last.
    let mut hashed = Vec::with_capacity(64);
    hashed.push(KEY);
    hashed.extend_from_slice(&outbox_born.to_le_bytes());
    hashed.extend_from_slice(&number.to_le_bytes());
    hashed.extend_from_slice(canister);
    let hash = blake3::hash(&hashed);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// 8 bytes of BLAKE3, never all zeros.
pub(super) fn number(hashed: &[u8]) -> u64 {
    let hash = blake3::hash(hashed);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes).max(1)
}
