//! ICRC ledgers, which recognise a transfer by `created_at_time` and all of its other fields.

use super::{
    callee::Callee,
    limit::Repeats,
    outcome::Reason,
    search::Wanted,
    transfer::TransferError,
    verdict::{Then, Verdict},
};
use crate::codec::decode;
use candid::Nat;
use std::time::Duration;

/// An ICRC-1 or ICRC-2 ledger. Its answer is the index of a block.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) wanted: Wanted,
    pub(super) window: Duration,
    pub(super) most_blocks: u64,
}

impl Ledger {
    /// ICRC-1's `TX_WINDOW`, as all known ledgers have it.
    pub(super) const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
    pub(super) const MOST_BLOCKS: u64 = 1_000;
}

impl Callee for Ledger {
    type Reply = Nat;

    /// No refusal proves that an earlier attempt was not executed: many ledgers check the fee, and some the balance, before they
    /// look for a duplicate, and an overloaded ledger does not look at all.
    fn judge(&self, reply: &[u8]) -> Verdict<Nat> {
        let error = match decode::<(Result<Nat, TransferError>,)>(reply) {
            Ok((
                Ok(block)
                | Err(TransferError::Duplicate {
                    duplicate_of: block,
                }),
            )) => return Verdict::Executed(block),
            Ok((Err(error),)) => error,
            Err(error) => {
                return Verdict::Unknown {
                    why: Reason::Unreadable(error.to_string()),
                    then: Then::Stop,
                };
            }
        };
        let then = match error {
            TransferError::TemporarilyUnavailable => Then::Again,
            TransferError::TooOld => Then::Over,
            _ => Then::Stop,
        };
        Verdict::Refused {
            why: Reason::Ledger(error),
            is_proof: false,
            then,
        }
    }

    fn repeats(&self) -> Repeats {
        Repeats::Dated(self.wanted.created_at, self.window)
    }

    fn wanted(&self) -> Option<(&Wanted, u64)> {
        (self.most_blocks > 0).then_some((&self.wanted, self.most_blocks))
    }

    fn found(block: Nat) -> Option<Nat> {
        Some(block)
    }
}
