//! Allowances: who may draw how much from whose account, and until when.

use std::borrow::Cow;

use candid::Principal;
use ic_stable_structures::{Memory, StableBTreeMap, Storable, storable::Bound};

use crate::{
    account::AccountKey,
    amount::saturated,
    blocks::{Block, Effect, Fee},
    errors::{ApproveError, Refusal},
    state::Ledger,
    types::{Allowance, AllowanceArgs, ApproveArgs},
};

/// How many expired allowances one approval clears away. More than the one it can add, so they never pile up, and few
/// enough that no caller pays for the rest of the world.
const PRUNED_PER_APPROVAL: usize = 2;

impl<M: Memory> Ledger<M> {
    /// `icrc2_approve`: sets what the spender may draw from one of the caller's accounts, and gives the index of the
    /// transaction.
    pub fn approve(
        &mut self,
        now: u64,
        caller: Principal,
        arg: ApproveArgs,
    ) -> Result<u64, ApproveError> {
        let from = AccountKey::new(caller, arg.from_subaccount.as_ref())?;
        let spender = AccountKey::try_from(&arg.spender)?;
        self.check_memo(arg.memo.as_ref())?;
        if self.is_minter(&from) {
            return Err(Refusal::DelegatedMint.into());
        }
        if from.same_owner(&spender) {
            return Err(Refusal::SelfApproval.into());
        }
        let fee = self.config().transfer_fee;
        let is_given = arg.fee.is_some();
        if arg.fee.is_some_and(|given| given != fee) {
            return Err(ApproveError::BadFee {
                expected_fee: fee.into(),
            });
        }
        if arg.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(ApproveError::Expired { ledger_time: now });
        }
        let current = self.approvals.get(from, spender, now);
        if arg
            .expected_allowance
            .as_ref()
            .is_some_and(|expected| *expected != current.amount)
        {
            return Err(ApproveError::AllowanceChanged {
                current_allowance: current.amount.into(),
            });
        }
        let balance = self.balance(&from);
        let Some(rest) = balance.checked_sub(fee) else {
            return Err(ApproveError::InsufficientFunds {
                balance: balance.into(),
            });
        };

        if fee > 0 {
            self.set_balance(from, rest);
            self.remove_supply(fee);
        }
        self.approvals.prune(now);
        let allowance = StoredAllowance {
            amount: saturated(&arg.amount),
            expires_at: arg.expires_at,
        };
        self.approvals.set(from, spender, allowance);
        Ok(self.append(&Block {
            effect: Effect::Approve {
                from,
                spender,
                amount: allowance.amount,
                expected_allowance: arg.expected_allowance.as_ref().map(saturated),
                expires_at: arg.expires_at,
                fee: Fee {
                    amount: fee,
                    is_given,
                },
            },
            memo: arg.memo,
            created_at_time: arg.created_at_time,
            timestamp: now,
        }))
    }

    /// `icrc2_allowance`: what a spender may still draw.
    pub fn allowance(&self, now: u64, arg: &AllowanceArgs) -> Result<Allowance, Refusal> {
        let from = AccountKey::try_from(&arg.account)?;
        let spender = AccountKey::try_from(&arg.spender)?;
        let allowance = self.approvals.get(from, spender, now);
        Ok(Allowance {
            allowance: allowance.amount.into(),
            expires_at: allowance.expires_at,
        })
    }
}

/// Every allowance there is, and the order in which they expire.
pub(crate) struct Approvals<M: Memory> {
    /// By payer and spender; a used up one is removed.
    allowances: StableBTreeMap<(AccountKey, AccountKey), StoredAllowance, M>,
    /// Those that expire, the next one first.
    expirations: StableBTreeMap<(u64, AccountKey, AccountKey), (), M>,
}

impl<M: Memory> Approvals<M> {
    pub(crate) fn init(allowances: M, expirations: M) -> Self {
        Self {
            allowances: StableBTreeMap::init(allowances),
            expirations: StableBTreeMap::init(expirations),
        }
    }

    /// The allowance in force: nothing if there is none, or it has expired.
    pub(crate) fn get(&self, from: AccountKey, spender: AccountKey, now: u64) -> StoredAllowance {
        self.allowances
            .get(&(from, spender))
            .filter(|allowance| allowance.expires_at.is_none_or(|at| at > now))
            .unwrap_or(StoredAllowance::NONE)
    }

    /// Replaces the allowance, whether or not it has expired.
    pub(crate) fn set(
        &mut self,
        from: AccountKey,
        spender: AccountKey,
        allowance: StoredAllowance,
    ) {
        let key = (from, spender);
        let (replaced, expires_at) = if allowance.amount == 0 {
            (self.allowances.remove(&key), None)
        } else {
            (self.allowances.insert(key, allowance), allowance.expires_at)
        };
        let replaced = replaced.and_then(|replaced| replaced.expires_at);
        if replaced == expires_at {
            return;
        }
        if let Some(at) = replaced {
            self.expirations.remove(&(at, from, spender));
        }
        if let Some(at) = expires_at {
            self.expirations.insert((at, from, spender), ());
        }
    }

    fn prune(&mut self, now: u64) {
        for _ in 0..PRUNED_PER_APPROVAL {
            let Some(((at, from, spender), ())) = self.expirations.first_key_value() else {
                return;
            };
            if at > now {
                return;
            }
            self.expirations.remove(&(at, from, spender));
            self.allowances.remove(&(from, spender));
        }
    }
}

/// An allowance as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredAllowance {
    pub(crate) amount: u128,
    pub(crate) expires_at: Option<u64>,
}

impl StoredAllowance {
    const NONE: Self = Self {
        amount: 0,
        expires_at: None,
    };

    /// The amount, then the time; an allowance that never expires has no second part.
    const AMOUNT_LENGTH: usize = 16;
    const LENGTH: usize = Self::AMOUNT_LENGTH + 8;
}

impl Storable for StoredAllowance {
    const BOUND: Bound = Bound::Bounded {
        max_size: Self::LENGTH as u32,
        is_fixed_size: false,
    };

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(Self::LENGTH);
        bytes.extend_from_slice(&self.amount.to_le_bytes());
        if let Some(at) = self.expires_at {
            bytes.extend_from_slice(&at.to_le_bytes());
        }
        Cow::Owned(bytes)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.to_bytes().into_owned()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        let (amount, expires_at) = bytes
            .split_first_chunk::<{ Self::AMOUNT_LENGTH }>()
            .expect("an allowance was stored with its amount");
        Self {
            amount: u128::from_le_bytes(*amount),
            expires_at: expires_at.first_chunk().map(|at| u64::from_le_bytes(*at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use ic_stable_structures::VectorMemory;

    use super::*;

    fn account(name: u8) -> AccountKey {
        AccountKey::new(Principal::from_slice(&[name]), None).unwrap()
    }

    fn until(at: u64) -> StoredAllowance {
        StoredAllowance {
            amount: 5,
            expires_at: Some(at),
        }
    }

    #[test]
    fn allowances_survive_storage() {
        for expires_at in [None, Some(0), Some(u64::MAX)] {
            let allowance = StoredAllowance {
                amount: u128::MAX,
                expires_at,
            };
            assert_eq!(StoredAllowance::from_bytes(allowance.to_bytes()), allowance);
        }
    }

    #[test]
    fn pruning_is_bounded_and_takes_only_what_has_expired() {
        let mut approvals = Approvals::init(VectorMemory::default(), VectorMemory::default());
        for name in 1..=4 {
            approvals.set(account(0), account(name), until(u64::from(name)));
        }
        approvals.prune(3);
        assert_eq!(approvals.allowances.len(), 2);
        approvals.prune(3);
        assert_eq!(approvals.allowances.len(), 1);
        assert_eq!(approvals.expirations.len(), 1);
        assert_eq!(approvals.get(account(0), account(4), 3), until(4));
    }

    #[test]
    fn a_replaced_allowance_leaves_no_expiration_behind() {
        let mut approvals = Approvals::init(VectorMemory::default(), VectorMemory::default());
        approvals.set(account(0), account(1), until(10));
        approvals.set(account(0), account(1), until(20));
        assert_eq!(approvals.expirations.len(), 1);
        approvals.prune(10);
        assert_eq!(approvals.get(account(0), account(1), 10), until(20));
        approvals.set(account(0), account(1), StoredAllowance::NONE);
        assert!(approvals.expirations.is_empty() && approvals.allowances.is_empty());
    }
}
