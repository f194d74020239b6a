//! Numbers in stable memory: an upgrade keeps them.

use ic_cdk::stable::{stable_grow, stable_read, stable_size, stable_write};

/// What the bank may still pay out.
pub(crate) const BALANCE: Number = Number(0);
/// What the ledger has paid.
pub(crate) const PAID: Number = Number(8);

/// A number at an offset.
pub(crate) struct Number(u64);

impl Number {
    pub(crate) fn get(&self) -> u64 {
        let mut bytes = [0; 8];
        if stable_size() > 0 {
            stable_read(self.0, &mut bytes);
        }
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn set(&self, value: u64) {
        if stable_size() == 0 && stable_grow(1).is_err() {
            ic_cdk::trap("no stable memory is left");
        }
        stable_write(self.0, &value.to_le_bytes());
    }
}
