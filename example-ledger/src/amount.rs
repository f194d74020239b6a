//! Amounts: unbounded on the wire, 128 bits inside.

use candid::Nat;

/// The most tokens there can ever be. One less than the largest number, so that a saturated amount is always more
/// than anybody has.
pub(crate) const MAX_SUPPLY: u128 = u128::MAX - 1;

/// The amount, or the largest number there is if it doesn't fit.
pub(crate) fn saturated(amount: &Nat) -> u128 {
    u128::try_from(&amount.0).unwrap_or(u128::MAX)
}
