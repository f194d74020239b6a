//! How fields that are hashed are told apart.

// What goes first into an identity: what it is of. Another way of hashing must have another number.
pub(super) const REQUEST: u8 = 1;
pub(super) const LANE: u8 = 2;
pub(super) const NUMBER: u8 = 3;
pub(super) const SCOPE: u8 = 4;
pub(super) const CALLER: u8 = 5;
pub(super) const ARGUMENT_VALUES: u8 = 6;
pub(super) const ARGUMENT_BYTES: u8 = 7;
pub(super) const CHOSEN: u8 = 8;
pub(super) const STEP: u8 = 9;

/// A length in as few bytes as tell where it ends.
pub(super) fn put_length(hashed: &mut Vec<u8>, length: usize) {
    const LONG: u8 = u8::MAX;
    match u8::try_from(length) {
        Ok(short) if short < LONG => hashed.push(short),
        _ => {
            hashed.push(LONG);
            hashed.extend_from_slice(&(length as u64).to_le_bytes());
        }
    }
}

pub(super) fn put_sized(hashed: &mut Vec<u8>, bytes: &[u8]) {
    put_length(hashed, bytes.len());
    hashed.extend_from_slice(bytes);
}
