//! The story of a payment whose answers get lost, on a real canister.

use candid::{CandidType, Nat, Principal, Reserved};
use example_ledger::{
    errors::{TransferError, TransferOnceError},
    init::{InitArgs, LedgerArg},
    types::{Account, TransferArg, TransferOnceArg},
};
use integration_tests::{Canister, Faults, LEDGER, PAYOUT, fixed_fees, replica, user};
use local_replica::faults::{Fault, MessageFault, Plan, Schedule};
use pocket_ic::PocketIc;
use serde::{Deserialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn main() {
    let replica = replica();
    let demo = Demo::new(&replica);

    demo.chapter("A payment, and the answer is lost");
    let arg = TransferArg {
        from_subaccount: None,
        to: account(bob()),
        amount: 100u8.into(),
        fee: None,
        memo: None,
        created_at_time: Some(replica.get_time().as_nanos_since_unix_epoch()),
    };
    demo.lose("alice sends 100 to bob", "icrc1_transfer", &arg);
    demo.balance();

    demo.chapter("Alice can't know whether it ran, so she sends it again");
    demo.call::<Result<Nat, TransferError>>("the same transfer", "icrc1_transfer", &arg);
    demo.call::<Result<Nat, TransferError>>("and once more", "icrc1_transfer", &arg);
    demo.balance();

    demo.chapter("A request id instead: the first answer again, not an error");
    let once = TransferOnceArg {
        request_id: ByteBuf::from("order 17"),
        from_subaccount: None,
        to: account(bob()),
        amount: 25u8.into(),
        fee: None,
        memo: None,
    };
    type Once = Result<Nat, TransferOnceError>;
    demo.lose("alice sends 25, as \"order 17\"", "transfer_once", &once);
    demo.call::<Once>("the same request", "transfer_once", &once);
    let other = TransferOnceArg {
        amount: 99u8.into(),
        ..once.clone()
    };
    demo.call::<Once>("\"order 17\" with another amount", "transfer_once", &other);
    demo.balance();

    demo.chapter("An upgrade in between");
    let argument = LedgerArg::Upgrade(None);
    demo.ledger
        .upgrade(LEDGER, (argument,))
        .expect("the upgrade succeeds");
    demo.call::<Once>("\"order 17\" again", "transfer_once", &once);
    demo.call::<Result<Nat, TransferError>>("the first transfer again", "icrc1_transfer", &arg);
    demo.balance();

    demo.chapter("A day and an hour later: the window has passed");
    replica.advance_time(DAY + Duration::from_secs(60 * 60));
    (0..5).for_each(|_| replica.tick());
    demo.call::<Result<Nat, TransferError>>("the first transfer again", "icrc1_transfer", &arg);
    demo.balance();
    println!("\nbob was paid 100 once and 25 once.");

    pay_out(&replica, &demo);
}

/// What the payout canister's books say.
#[derive(CandidType, Deserialize)]
struct Audit {
    balances: u64,
    reserved: u64,
    paid: u64,
    open: u64,
    holds: bool,
}

#[derive(CandidType)]
struct CreditArg {
    request_id: ByteBuf,
    owner: Principal,
    amount: u64,
}

#[derive(CandidType)]
struct PayoutArg {
    request_id: ByteBuf,
    to: Principal,
    amount: u64,
}

/// A balance in one canister, tokens in another, and all that can go wrong between them.
fn pay_out(replica: &PocketIc, demo: &Demo<'_>) {
    demo.chapter("A payout: the balance is in one canister, the tokens in another");
    let payout = Canister::install(replica, PAYOUT, (demo.ledger.id(),));
    let controllers = vec![Principal::anonymous(), operator()];
    replica
        .set_controllers(payout.id(), None, controllers)
        .expect("the controllers are set");
    let tokens = TransferArg {
        from_subaccount: None,
        to: account(payout.id()),
        amount: 500u16.into(),
        fee: None,
        memo: None,
        created_at_time: None,
    };
    demo.call::<Result<Nat, TransferError>>("it gets 500 tokens", "icrc1_transfer", &tokens);
    let credit = CreditArg {
        request_id: ByteBuf::from("deposit 1"),
        owner: alice(),
        amount: 300,
    };
    let _: Reserved = payout
        .update(operator(), "credit", (credit,))
        .expect("alice is credited");
    let audit = || -> Audit { payout.query(alice(), "audit", ()).expect("it has books") };
    let books = || {
        let audit = audit();
        let sum = match audit.holds {
            true => "they add up",
            false => "THEY DON'T ADD UP",
        };
        let Audit {
            balances,
            reserved,
            paid,
            ..
        } = audit;
        let books = format!("balances {balances}, reserved {reserved}, paid {paid}: {sum}");
        line("its books", &books, "");
    };
    books();

    demo.chapter("Alice pays out 120 to bob and goes away; the ledger's answer meets a trap");
    // The client's call, the method's beginning, and then the answer.
    let trap = Fault::Message {
        canister: payout.id(),
        number: 3,
        what: MessageFault::TrapAtCall(1),
    };
    let faults = Faults::install(replica, &Plan::Schedule(Schedule(vec![trap])));
    let arg = PayoutArg {
        request_id: ByteBuf::from("payout 1"),
        to: bob(),
        amount: 120,
    };
    payout
        .send(alice(), "payout", (arg,))
        .expect("the call is accepted");
    (0..4).for_each(|_| replica.tick());
    if let Some(faults) = faults {
        line(
            "traps so far",
            &faults.report().applied.0.len().to_string(),
            "",
        );
        faults.stop();
    }
    books();
    demo.balance();

    demo.chapter("The canister is upgraded; nobody asks again");
    payout.upgrade(PAYOUT, ()).expect("the upgrade succeeds");
    let before = replica.get_time();
    for _ in 0..60 {
        replica.advance_time(Duration::from_secs(1));
        replica.tick();
        if audit().open == 0 {
            break;
        }
    }
    let seconds = (replica.get_time().as_nanos_since_unix_epoch()
        - before.as_nanos_since_unix_epoch())
        / 1_000_000_000;
    line(
        "the payout ends by itself",
        &format!("after {seconds} seconds"),
        "",
    );
    books();
    demo.balance();
}

struct Demo<'a> {
    ledger: Canister<'a>,
}

impl<'a> Demo<'a> {
    fn new(replica: &'a PocketIc) -> Self {
        println!("installing the ledger ...");
        let init = LedgerArg::Init(InitArgs {
            token_name: "Example".into(),
            token_symbol: "EX".into(),
            decimals: None,
            transfer_fee: 1u8.into(),
            minting_account: account(user(9)),
            initial_balances: vec![(account(alice()), 1_000u16.into())],
            metadata: vec![],
            max_memo_length: None,
            archives: None,
        });
        let ledger = Canister::install(replica, LEDGER, (init,));
        println!(
            "\nInstructions are the cycles charged, less the fixed fees of a call: those of the code, and 1,000 for each heap page written."
        );
        Self { ledger }
    }

    fn chapter(&self, title: &str) {
        println!("\n{title}");
    }

    /// A call whose answer never arrives.
    fn lose(&self, what: &str, method: &str, arg: &impl CandidType) {
        let ((), instructions) = self.measured(method, arg, || {
            self.ledger.lose_answer(alice(), method, (arg,))
        });
        line(what, "(the answer is lost)", &instructions);
    }

    fn call<T: CandidType + DeserializeOwned + Told>(
        &self,
        what: &str,
        method: &str,
        arg: &impl CandidType,
    ) {
        let (answer, instructions) = self.measured(method, arg, || {
            self.ledger
                .update::<T>(alice(), method, (arg,))
                .expect("the ledger answers")
        });
        line(what, &answer.told(), &instructions);
    }

    /// What a call does, and its instructions with separators.
    fn measured<T>(
        &self,
        method: &str,
        arg: &impl CandidType,
        call: impl FnOnce() -> T,
    ) -> (T, String) {
        let bytes = candid::encode_one(arg).expect("the argument encodes");
        let (result, charged) = self.ledger.cycles_charged(call);
        let fees = fixed_fees(alice(), self.ledger.id(), method, &bytes);
        (result, grouped(charged.saturating_sub(fees)))
    }

    fn balance(&self) {
        let balance: Nat = self
            .ledger
            .query(bob(), "icrc1_balance_of", (account(bob()),))
            .expect("the ledger answers");
        line("bob has", &balance.to_string(), "");
    }
}

fn line(what: &str, answer: &str, instructions: &str) {
    let line = match instructions {
        "" => format!("  {what:<32} {answer}"),
        _ => format!("  {what:<32} {answer:<34} {instructions:>9} instructions"),
    };
    println!("{line}");
}

/// An answer in a few words.
trait Told {
    fn told(&self) -> String;
}

impl Told for Result<Nat, TransferError> {
    fn told(&self) -> String {
        match self {
            Ok(index) => format!("Ok, transaction {index}"),
            Err(TransferError::Duplicate { duplicate_of }) => {
                format!("Duplicate of transaction {duplicate_of}")
            }
            Err(error) => format!("{error:?}"),
        }
    }
}

impl Told for Result<Nat, TransferOnceError> {
    fn told(&self) -> String {
        match self {
            Ok(index) => format!("Ok, transaction {index}"),
            Err(TransferOnceError::Transfer(error)) => format!("{error:?}"),
            Err(TransferOnceError::Idempotency(error)) => format!("{error:?}"),
        }
    }
}

fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

fn alice() -> Principal {
    user(1)
}

fn bob() -> Principal {
    user(2)
}

fn operator() -> Principal {
    user(7)
}

fn account(owner: Principal) -> Account {
    Account {
        owner,
        subaccount: None,
    }
}
