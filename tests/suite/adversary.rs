//! What it costs somebody who means no good to fill the example ledger's memory of transactions: then new transfers with a
//! `created_at_time` are refused, while retries are still answered.

use crate::ledger::{FEE, account, with_ledger};
use candid::Nat;
use example_ledger::{dedup::CAPACITY, errors::TransferError, types::TransferArg};
use integration_tests::{Canister, TEST_CANISTER, call_fees, user};

/// How many transfers are made to see what one costs.
const SAMPLE: u64 = 50;
const METHOD: &str = "icrc1_transfer";

/// What makes one entry.
struct Entry {
    /// Tokens that are burned, in units.
    fee: u64,
    /// Cycles that the ledger is charged.
    ledger: u128,
    /// Cycles that whoever makes it is charged.
    caller: u128,
}

impl Entry {
    /// The table's line for all of the ledger's memory.
    fn line(&self, by: &str) -> String {
        let trillions = |cycles: u128| (cycles * u128::from(CAPACITY)) as f64 / 1e12;
        format!(
            "| {by} | {} units: {} fees | {:.2} T | {:.2} T |",
            self.fee * CAPACITY,
            self.fee * CAPACITY / FEE,
            trillions(self.caller),
            trillions(self.ledger),
        )
    }
}

/// For the README: `cargo test -p integration-tests --test suite adversary -- --nocapture`.
#[test]
fn filling_the_ledger_costs_a_fee_for_each_place() {
    with_ledger(|replica, ledger| {
        let now = replica.get_time().as_nanos_since_unix_epoch();
        let caller = Canister::install(replica, TEST_CANISTER, ());
        // To oneself: only the fee is lost.
        let transfer = |to, number: u64| {
            let arg = TransferArg {
                from_subaccount: None,
                to: account(to),
                amount: 1u8.into(),
                fee: None,
                memo: None,
                created_at_time: Some(now + number),
            };
            candid::encode_one(&arg).expect("it encodes")
        };
        let succeeded = |reply: &[u8]| {
            let answer: Result<Nat, TransferError> =
                candid::decode_one(reply).expect("the answer decodes");
            answer.expect("it transfers");
        };
        let balance = |owner| -> u64 {
            let balance: Nat = ledger
                .query(owner, "icrc1_balance_of", (account(owner),))
                .expect("it answers");
            balance.0.try_into().expect("balances here are small")
        };
        let fund = TransferArg {
            amount: 1_000_000u64.into(),
            to: account(caller.id()),
            from_subaccount: None,
            fee: None,
            memo: None,
            created_at_time: None,
        };
        let fund = candid::encode_one(&fund).expect("it encodes");
        succeeded(
            &ledger
                .update_raw(user(1), METHOD, fund)
                .expect("it answers"),
        );
        let sample = |owner, transfer: &dyn Fn(u64)| {
            let before = balance(owner);
            let ((), charged) = ledger.cycles_charged(|| (0..SAMPLE).for_each(transfer));
            (
                (before - balance(owner)) / SAMPLE,
                charged / u128::from(SAMPLE),
            )
        };

        let (fee, charged) = sample(user(1), &|number| {
            let arg = transfer(user(1), number);
            succeeded(&ledger.update_raw(user(1), METHOD, arg).expect("it answers"));
        });
        let by_user = Entry {
            fee,
            ledger: charged,
            caller: 0,
        };
        let (fee, charged) = sample(caller.id(), &|number| {
            let arg = transfer(caller.id(), number);
            let (reply, _) = caller.forward(ledger.id(), METHOD, arg, 0);
            succeeded(&reply.expect("it answers"));
        });
        let reply = candid::encode_one(Ok::<_, TransferError>(Nat::from(CAPACITY)));
        let reply = reply.expect("it encodes");
        let by_canister = Entry {
            fee,
            ledger: charged,
            // What it takes to make the calls and to get the answers is not counted: they can be many in one message.
            caller: call_fees(METHOD, &transfer(caller.id(), 0), &reply),
        };

        println!(
            "filling the ledger's memory of {CAPACITY} transactions, to be done again every 24 hours:"
        );
        println!("| by | ledger fees | cycles of the attacker, at least | cycles of the ledger |");
        println!("|---|---|---|---|");
        println!("{}", by_user.line("users, over ingress"));
        println!("{}", by_canister.line("a canister, by calls"));
        assert_eq!((by_user.fee, by_canister.fee), (FEE, FEE));
        assert!(
            by_user.ledger > by_canister.ledger,
            "ingress is paid by the ledger"
        );
    });
}
