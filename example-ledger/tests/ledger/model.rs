//! The ledger against the plainest ledger there could be: maps on the heap, rules in the order of the standards. The model
//! knows one account of each user and 128 bits; the ledger is told of the account in two ways, and of longer numbers.

use std::collections::BTreeMap;

use crate::support::*;
use candid::Nat;
use example_ledger::{
    errors::{ApproveError, TransferError, TransferFromError},
    types::{Account, ApproveArgs, TransferArg, TransferFromArgs},
};
use idempotency_archive::icrc3::Value;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

const USERS: [u8; 4] = [MINTER, ALICE, BOB, CAROL];
const INITIAL: [(u8, u128); 2] = [(ALICE, 200), (BOB, 60)];

#[derive(Clone, Debug)]
enum Call {
    Transfer {
        caller: u8,
        to: u8,
        amount: u128,
        fee: Option<u128>,
    },
    Approve {
        caller: u8,
        spender: u8,
        amount: u128,
        expected: Option<u128>,
        expires_in: Option<u64>,
    },
    TransferFrom {
        caller: u8,
        from: u8,
        to: u8,
        amount: u128,
    },
    Wait(u64),
}

/// What an answer says, without its details.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done(u64),
    BadFee,
    BadBurn,
    InsufficientFunds(u128),
    InsufficientAllowance(u128),
    AllowanceChanged(u128),
    Refused,
}

#[derive(Default)]
struct Model {
    balances: BTreeMap<u8, u128>,
    allowances: BTreeMap<(u8, u8), (u128, Option<u64>)>,
    blocks: u64,
}

impl Model {
    fn new() -> Self {
        Self {
            balances: INITIAL.into(),
            blocks: INITIAL.len() as u64,
            ..Self::default()
        }
    }

    fn balance(&self, user: u8) -> u128 {
        self.balances.get(&user).copied().unwrap_or(0)
    }

    fn supply(&self) -> u128 {
        self.balances.values().sum()
    }

    fn allowance(&self, now: u64, from: u8, spender: u8) -> (u128, Option<u64>) {
        match self.allowances.get(&(from, spender)) {
            Some(&(amount, expires_at)) if amount > 0 && expires_at.is_none_or(|at| now < at) => {
                (amount, expires_at)
            }
            _ => (0, None),
        }
    }

    fn done(&mut self) -> Answer {
        self.blocks += 1;
        Answer::Done(self.blocks - 1)
    }

    fn pay(
        &mut self,
        spender: Option<(u8, u64)>,
        from: u8,
        to: u8,
        amount: u128,
        fee: Option<u128>,
    ) -> Answer {
        let expected = if from == MINTER || to == MINTER {
            0
        } else {
            FEE
        };
        if fee.is_some_and(|fee| fee != expected) {
            return Answer::BadFee;
        }
        let total = amount.saturating_add(expected);
        if let Some((spender, now)) = spender {
            let (allowance, _) = self.allowance(now, from, spender);
            if allowance < total {
                return Answer::InsufficientAllowance(allowance);
            }
        }
        if from == MINTER && (to == MINTER || amount > u128::MAX - 1 - self.supply()) {
            return Answer::Refused;
        }
        let balance = self.balance(from);
        if from != MINTER {
            if to == MINTER && amount < FEE.min(balance).max(1) {
                return Answer::BadBurn;
            }
            if balance < total {
                return Answer::InsufficientFunds(balance);
            }
            self.balances.insert(from, balance - total);
        }
        if to != MINTER {
            self.balances.insert(to, self.balance(to) + amount);
        }
        if let Some((spender, _)) = spender
            && let Some((allowance, _)) = self.allowances.get_mut(&(from, spender))
        {
            *allowance = allowance.saturating_sub(total);
        }
        self.done()
    }

    fn answer(&mut self, now: u64, call: &Call) -> Answer {
        match *call {
            Call::Transfer {
                caller,
                to,
                amount,
                fee,
            } => self.pay(None, caller, to, amount, fee),
            Call::TransferFrom {
                caller,
                from,
                to,
                amount,
            } => match caller == from {
                true => self.pay(None, from, to, amount, None),
                false if from == MINTER => Answer::Refused,
                false => self.pay(Some((caller, now)), from, to, amount, None),
            },
            Call::Approve {
                caller,
                spender,
                amount,
                expected,
                expires_in,
            } => {
                if caller == MINTER || caller == spender {
                    return Answer::Refused;
                }
                let (current, _) = self.allowance(now, caller, spender);
                // No allowance is a longer number.
                if expected.is_some_and(|expected| expected != current || expected == u128::MAX) {
                    return Answer::AllowanceChanged(current);
                }
                let balance = self.balance(caller);
                if balance < FEE {
                    return Answer::InsufficientFunds(balance);
                }
                self.balances.insert(caller, balance - FEE);
                self.allowances.insert(
                    (caller, spender),
                    (amount, expires_in.map(|after| now + after)),
                );
                self.done()
            }
            Call::Wait(_) => unreachable!("waiting has no answer"),
        }
    }
}

fn number(n: Nat) -> u128 {
    u128::try_from(&n.0).unwrap()
}

/// The largest number of the model stands for all that are larger, such as this one of 700 digits.
fn nat(number: u128) -> Nat {
    match number {
        u128::MAX => (0..699).fold(Nat::from(1_u8), |number, _| number * 10_u8),
        _ => number.into(),
    }
}

/// Which accounts a client gives in full.
#[derive(Clone, Copy, Debug)]
struct InFull([bool; 3]);

impl InFull {
    /// The subaccount of the caller's account.
    fn own(self) -> Option<ByteBuf> {
        self.0[0].then(|| ByteBuf::from([0; 32]))
    }

    fn account(self, number: usize, owner: u8) -> Account {
        Account {
            subaccount: self.0[number].then(|| ByteBuf::from([0; 32])),
            ..account(owner)
        }
    }
}

fn real_answer(ledger: &mut TestLedger, now: u64, call: &Call, in_full: InFull) -> Answer {
    let result = match *call {
        Call::Transfer {
            caller,
            to,
            amount,
            fee,
        } => {
            let arg = TransferArg {
                from_subaccount: in_full.own(),
                to: in_full.account(1, to),
                amount: nat(amount),
                fee: fee.map(nat),
                ..send(to, 0)
            };
            ledger
                .transfer(now, principal(caller), arg)
                .map_err(|error| match error {
                    TransferError::BadFee { .. } => Answer::BadFee,
                    TransferError::BadBurn { .. } => Answer::BadBurn,
                    TransferError::InsufficientFunds { balance } => {
                        Answer::InsufficientFunds(number(balance))
                    }
                    TransferError::GenericError { .. } => Answer::Refused,
                    other => panic!("{other:?}"),
                })
        }
        Call::TransferFrom {
            caller,
            from,
            to,
            amount,
        } => {
            let arg = TransferFromArgs {
                spender_subaccount: in_full.own(),
                from: in_full.account(1, from),
                to: in_full.account(2, to),
                amount: nat(amount),
                ..draw(from, to, 0)
            };
            ledger
                .transfer_from(now, principal(caller), arg)
                .map_err(|error| match error {
                    TransferFromError::BadBurn { .. } => Answer::BadBurn,
                    TransferFromError::InsufficientFunds { balance } => {
                        Answer::InsufficientFunds(number(balance))
                    }
                    TransferFromError::InsufficientAllowance { allowance } => {
                        Answer::InsufficientAllowance(number(allowance))
                    }
                    TransferFromError::GenericError { .. } => Answer::Refused,
                    other => panic!("{other:?}"),
                })
        }
        Call::Approve {
            caller,
            spender,
            amount,
            expected,
            expires_in,
        } => {
            let arg = ApproveArgs {
                from_subaccount: in_full.own(),
                spender: in_full.account(1, spender),
                amount: nat(amount),
                expected_allowance: expected.map(nat),
                expires_at: expires_in.map(|after| now + after),
                ..approve(spender, 0)
            };
            ledger
                .approve(now, principal(caller), arg)
                .map_err(|error| match error {
                    ApproveError::InsufficientFunds { balance } => {
                        Answer::InsufficientFunds(number(balance))
                    }
                    ApproveError::AllowanceChanged { current_allowance } => {
                        Answer::AllowanceChanged(number(current_allowance))
                    }
                    ApproveError::GenericError { .. } => Answer::Refused,
                    other => panic!("{other:?}"),
                })
        }
        Call::Wait(_) => unreachable!("waiting has no answer"),
    };
    result.map_or_else(|refused| refused, Answer::Done)
}

fn user() -> impl Strategy<Value = u8> {
    prop::sample::select(USERS.as_slice())
}

fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![
        10 => 0..80_u128,
        1 => Just(u128::MAX),
        1 => Just(u128::MAX - FEE),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let fee = prop_oneof![6 => Just(None), 1 => Just(Some(0)), 2 => Just(Some(FEE)), 1 => Just(Some(u128::MAX))];
    let expected = prop_oneof![9 => 0..30_u128, 1 => Just(u128::MAX)];
    prop_oneof![
        3 => (user(), user(), amount(), fee)
            .prop_map(|(caller, to, amount, fee)| Call::Transfer { caller, to, amount, fee }),
        3 => (user(), user(), amount(), prop::option::weighted(0.2, expected), prop::option::of(1..20_u64))
            .prop_map(|(caller, spender, amount, expected, expires_in)| {
                Call::Approve { caller, spender, amount, expected, expires_in }
            }),
        4 => (user(), user(), user(), amount())
            .prop_map(|(caller, from, to, amount)| Call::TransferFrom { caller, from, to, amount }),
        1 => (1..10_u64).prop_map(Call::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_answers_as_the_model_does(calls in prop::collection::vec((call(), any::<[bool; 3]>()), 1..60)) {
        let mut ledger = ledger(&INITIAL);
        let mut model = Model::new();
        let mut now = NOW;
        for (call, in_full) in &calls {
            if let Call::Wait(time) = call {
                now += time;
                continue;
            }
            prop_assert_eq!(
                real_answer(&mut ledger, now, call, InFull(*in_full)),
                model.answer(now, call),
                "{:?}, {:?} in full",
                call,
                in_full
            );
            // Nobody loses or gains anything but by the rules, and the supply is what all hold together.
            for user in USERS {
                let in_full = InFull([true; 3]).account(1, user);
                prop_assert_eq!(ledger.balance(&(&in_full).try_into().unwrap()), model.balance(user));
                prop_assert_eq!(balance(&ledger, user), model.balance(user));
                for spender in USERS {
                    prop_assert_eq!(
                        allowance(&ledger, now, user, spender),
                        model.allowance(now, user, spender)
                    );
                }
            }
            prop_assert_eq!(ledger.total_supply(), model.supply());
            prop_assert_eq!(ledger.transaction_count(), model.blocks);
        }
        // Each transaction is a block with the hash of the one before, and can be read as a transaction.
        let mut parent: Option<[u8; 32]> = None;
        for index in 0..model.blocks {
            let block = ledger.log().get(index).unwrap();
            prop_assert_eq!(block.get("phash").cloned(), parent.map(Value::blob));
            prop_assert!(ledger.transaction(index).is_some());
            parent = Some(block.hash());
        }
        prop_assert_eq!(ledger.log().tip().map(|(_, hash)| hash), parent);
    }
}
