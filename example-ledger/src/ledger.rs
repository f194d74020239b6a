//! Transfers, on the caller's own behalf and on somebody else's.
//!
//! Nothing here knows about deduplication, the system API or the clock: who calls and what time it is are arguments.

use candid::{Nat, Principal};
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::{
    account::AccountKey,
    amount::saturated,
    approvals::StoredAllowance,
    blocks::{Block, Effect, Fee},
    errors::{Refusal, TransferError, TransferFromError},
    state::Ledger,
    types::{TransferArg, TransferFromArgs},
};

/// Tokens on their way, with the fee already agreed upon.
struct Payment {
    from: AccountKey,
    to: AccountKey,
    spender: Option<AccountKey>,
    amount: u128,
    fee: Fee,
}

impl Payment {
    /// What the payer loses. An amount too large for this saturates, and so is more than anybody has.
    fn total(&self) -> u128 {
        self.amount.saturating_add(self.fee.amount)
    }
}

impl<M: Memory> Ledger<M> {
    /// `icrc1_transfer`: moves, mints or burns the caller's tokens, and gives the index of the transaction.
    pub fn transfer(
        &mut self,
        now: u64,
        caller: Principal,
        arg: TransferArg,
    ) -> Result<u64, TransferError> {
        let from = AccountKey::new(caller, arg.from_subaccount.as_ref())?;
        let to = AccountKey::try_from(&arg.to)?;
        self.check_memo(arg.memo.as_ref())?;
        let payment = self.payment(from, to, None, &arg.amount, arg.fee.as_ref())?;
        let effect = self.pay(payment)?;
        Ok(self.append(&Block {
            effect,
            memo: arg.memo,
            created_at_time: arg.created_at_time,
            timestamp: now,
        }))
    }

    /// `icrc2_transfer_from`: the same with tokens of an account the caller has an allowance for.
    pub fn transfer_from(
        &mut self,
        now: u64,
        caller: Principal,
        arg: TransferFromArgs,
    ) -> Result<u64, TransferFromError> {
        let spender = AccountKey::new(caller, arg.spender_subaccount.as_ref())?;
        let from = AccountKey::try_from(&arg.from)?;
        let to = AccountKey::try_from(&arg.to)?;
        self.check_memo(arg.memo.as_ref())?;
        // Nobody needs an allowance for their own account.
        let spender = (spender != from).then_some(spender);
        if spender.is_some() && self.is_minter(&from) {
            return Err(Refusal::DelegatedMint.into());
        }
        let payment = self.payment(from, to, spender, &arg.amount, arg.fee.as_ref())?;
        let rest = spender
            .map(|spender| self.draw(now, spender, &payment))
            .transpose()?;
        let effect = self.pay(payment)?;
        if let Some((spender, allowance)) = spender.zip(rest) {
            self.approvals.set(from, spender, allowance);
        }
        Ok(self.append(&Block {
            effect,
            memo: arg.memo,
            created_at_time: arg.created_at_time,
            timestamp: now,
        }))
    }

    pub(crate) fn check_memo(&self, memo: Option<&ByteBuf>) -> Result<(), Refusal> {
        let max = self.config().max_memo_length;
        match memo {
            Some(memo) if memo.len() > usize::from(max) => Err(Refusal::MemoTooLong {
                length: memo.len(),
                max,
            }),
            _ => Ok(()),
        }
    }

    /// Agrees upon the fee: none for minting and burning, the ledger's for everything else.
    fn payment(
        &self,
        from: AccountKey,
        to: AccountKey,
        spender: Option<AccountKey>,
        amount: &Nat,
        given_fee: Option<&Nat>,
    ) -> Result<Payment, TransferError> {
        let fee = if self.is_minter(&from) || self.is_minter(&to) {
            0
        } else {
            self.config().transfer_fee
        };
        if given_fee.is_some_and(|given| *given != fee) {
            return Err(TransferError::BadFee {
                expected_fee: fee.into(),
            });
        }
        Ok(Payment {
            from,
            to,
            spender,
            amount: saturated(amount),
            fee: Fee {
                amount: fee,
                is_given: given_fee.is_some(),
            },
        })
    }

    /// What would be left of the allowance.
    fn draw(
        &self,
        now: u64,
        spender: AccountKey,
        payment: &Payment,
    ) -> Result<StoredAllowance, TransferFromError> {
        let allowance = self.approvals.get(payment.from, spender, now);
        let amount = allowance.amount.checked_sub(payment.total()).ok_or(
            TransferFromError::InsufficientAllowance {
                allowance: allowance.amount.into(),
            },
        )?;
        Ok(StoredAllowance {
            amount,
            ..allowance
        })
    }

    /// Checks the balance and moves the tokens. An `Err` has changed nothing.
    fn pay(&mut self, payment: Payment) -> Result<Effect, TransferError> {
        match (self.is_minter(&payment.from), self.is_minter(&payment.to)) {
            (true, true) => Err(Refusal::MintToMinter.into()),
            (true, false) => self.mint(payment),
            (false, true) => self.burn(payment),
            (false, false) => self.move_tokens(payment),
        }
    }

    fn mint(&mut self, Payment { to, amount, .. }: Payment) -> Result<Effect, TransferError> {
        self.add_supply(amount)?;
        self.credit(to, amount);
        Ok(Effect::Mint { to, amount })
    }

    fn burn(&mut self, payment: Payment) -> Result<Effect, TransferError> {
        let balance = self.balance(&payment.from);
        // An account with less than the minimum may be emptied: nobody is stuck with dust. Burning nothing is no burn.
        let min_burn_amount = self.config().transfer_fee.min(balance).max(1);
        if payment.amount < min_burn_amount {
            return Err(TransferError::BadBurn {
                min_burn_amount: min_burn_amount.into(),
            });
        }
        let rest = rest(balance, payment.amount)?;
        self.set_balance(payment.from, rest);
        self.remove_supply(payment.amount);
        Ok(Effect::Burn {
            from: payment.from,
            spender: payment.spender,
            amount: payment.amount,
        })
    }

    fn move_tokens(&mut self, payment: Payment) -> Result<Effect, TransferError> {
        let balance = self.balance(&payment.from);
        let rest = rest(balance, payment.total())?;
        if payment.from == payment.to {
            self.set_balance(payment.from, rest + payment.amount);
        } else {
            self.set_balance(payment.from, rest);
            self.credit(payment.to, payment.amount);
        }
        self.remove_supply(payment.fee.amount);
        Ok(Effect::Transfer {
            from: payment.from,
            to: payment.to,
            spender: payment.spender,
            amount: payment.amount,
            fee: payment.fee,
        })
    }
}

fn rest(balance: u128, total: u128) -> Result<u128, TransferError> {
    balance
        .checked_sub(total)
        .ok_or(TransferError::InsufficientFunds {
            balance: balance.into(),
        })
}
