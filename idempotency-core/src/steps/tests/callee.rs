//! The callee of safe calls, which answers in every way.

use crate::{runtime::Rejected, safe_call::TransferError};
use candid::{Nat, Principal};

/// What becomes of a safe call that its callee is to be answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is executed and answered. Of these all, only this is no fault.
    Answered,
    /// It is executed, and the answer is lost.
    Lost,
    /// It never arrives, and nobody can tell.
    Dropped,
    /// It is certainly not executed.
    Transient,
    /// It is executed, and traps after its effect.
    TrapsLater,
    /// It traps before its effect.
    TrapsFirst,
    /// A ledger refuses it, before it looks for a duplicate.
    Refused,
    /// A ledger has forgotten whether it was executed.
    TooOld,
}

impl Fate {
    /// Those of all callees first.
    pub(super) const ALL: [Self; 8] = [
        Self::Answered,
        Self::Lost,
        Self::Dropped,
        Self::Transient,
        Self::TrapsLater,
        Self::TrapsFirst,
        Self::Refused,
        Self::TooOld,
    ];

    pub(super) fn is_executed(self) -> bool {
        matches!(self, Self::Answered | Self::Lost | Self::TrapsLater)
    }

    pub(super) fn answer(self, method: &str, is_new: bool) -> Result<Vec<u8>, Rejected> {
        let rejected = |code| {
            Err(Rejected {
                code,
                message: format!("{self:?}"),
            })
        };
        let block = Nat::from(BLOCK);
        let error = match self {
            Self::Lost | Self::Dropped => return rejected(6),
            Self::Transient => return rejected(2),
            Self::TrapsLater | Self::TrapsFirst => return rejected(5),
            Self::Answered if method != TRANSFER => return Ok(candid::encode_one(BLOCK).unwrap()),
            Self::Answered if is_new => None,
            Self::Answered => Some(TransferError::Duplicate {
                duplicate_of: block.clone(),
            }),
            Self::Refused => Some(TransferError::InsufficientFunds {
                balance: 0u8.into(),
            }),
            Self::TooOld => Some(TransferError::TooOld),
        };
        Ok(candid::encode_one(error.map_or(Ok(block), Err)).unwrap())
    }
}

/// The callee of safe calls. It has three methods: a ledger's, which takes notice of an argument once, [`ENDPOINT`], which does so,
/// too, and [`PLAIN`], which does not.
pub(super) const CALLEE: Principal = Principal::from_slice(&[8, 1]);
pub(super) const TRANSFER: &str = "icrc1_transfer";
pub(super) const ENDPOINT: &str = "endpoint";
pub(super) const PLAIN: &str = "plain";
/// What it answers with.
pub(super) const BLOCK: u64 = 1 << 40;
