//! A ledger that executes a transfer again when it is sent again.

use candid::{CandidType, Nat, Principal, decode_one, encode_one};
use idempotency_core::safe_call::{Account, TransferError};
use serde::Deserialize;
use serde_bytes::ByteArray;
use std::collections::BTreeMap;

pub(super) const FEE: u64 = 10;

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) balances: BTreeMap<(Principal, [u8; 32]), u64>,
    pub(super) fee: u64,
    /// Whether it may trap after a transfer, when it has awaited something.
    pub(super) traps: bool,
    /// For so many transfers it says that it is busy.
    pub(super) busy: u32,
    /// What happens to it after the next transfer.
    pub(super) then: Option<fn(&mut Ledger)>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            balances: BTreeMap::new(),
            fee: FEE,
            traps: false,
            busy: 0,
            then: None,
        }
    }
}

#[derive(CandidType, Deserialize)]
struct TransferArg {
    from_subaccount: Option<ByteArray<32>>,
    to: Holder,
    amount: Nat,
    fee: Option<Nat>,
}

#[derive(CandidType, Deserialize)]
struct Holder {
    owner: Principal,
    subaccount: Option<ByteArray<32>>,
}

impl Holder {
    fn key(&self) -> (Principal, [u8; 32]) {
        let subaccount = self.subaccount.as_ref().map(|bytes| **bytes);
        (self.owner, subaccount.unwrap_or_default())
    }
}

/// Whose transfers it makes: there is one client.
pub(super) const CALLER: Principal = Principal::from_slice(&[9]);

impl Ledger {
    pub(super) fn balance(&self, account: Account) -> u64 {
        let account = (account.owner, account.subaccount.unwrap_or_default());
        self.balances.get(&account).copied().unwrap_or_default()
    }

    pub(super) fn call(&mut self, method: &str, arg: &[u8]) -> Vec<u8> {
        match method {
            "icrc1_fee" => encode_one(Nat::from(self.fee)),
            "icrc1_balance_of" => {
                let holder: Holder = decode_one(arg).unwrap();
                let balance = self.balances.get(&holder.key()).copied();
                encode_one(Nat::from(balance.unwrap_or_default()))
            }
            "icrc1_transfer" => encode_one(self.transfer(decode_one(arg).unwrap()).map(Nat::from)),
            other => panic!("{other}"),
        }
        .unwrap()
    }

    fn transfer(&mut self, arg: TransferArg) -> Result<u64, TransferError> {
        if self.busy > 0 {
            self.busy -= 1;
            return Err(TransferError::TemporarilyUnavailable);
        }
        if arg.fee.is_some_and(|fee| fee != self.fee) {
            return Err(TransferError::BadFee {
                expected_fee: self.fee.into(),
            });
        }
        let amount = u64::try_from(arg.amount.0).unwrap();
        let from = arg.from_subaccount.as_ref().map(|bytes| **bytes);
        let from = self
            .balances
            .entry((CALLER, from.unwrap_or_default()))
            .or_default();
        match from.checked_sub(amount + self.fee) {
            Some(rest) => *from = rest,
            None => {
                return Err(TransferError::InsufficientFunds {
                    balance: (*from).into(),
                });
            }
        }
        *self.balances.entry(arg.to.key()).or_default() += amount;
        if let Some(then) = self.then.take() {
            then(self);
        }
        Ok(7)
    }
}
