//! Whole calls: an endpoint with the attribute and without it, and the example ledger's transfer.
//!
//! A call is measured by what it is charged without the fixed fees: its instructions, and 1,000 for each heap page that
//! it dirties.

use crate::{
    Progress,
    results::{Results, Samples, grouped},
    subject::{REPLY_BYTES, SAMPLES, Subject, charged, replica_at_epoch, time_of},
};
use bench_work::{Account, Who};
use candid::{CandidType, Nat, Principal};
use example_ledger::{
    errors::TransferError,
    init::{InitArgs, LedgerArg},
    types as ledger,
};
use idempotency_core::{
    IdempotencyError,
    outcome::{Asked, Outcome},
};
use integration_tests::{BENCH_CANISTER, Canister, LEDGER, user};
use serde_bytes::ByteBuf;
use std::time::Duration;

/// The ledger holds no more transactions, and must have room for those that are measured.
const ROOM_IN_LEDGER: u64 = 1_000;

fn argument(number: u64) -> Vec<u8> {
    let mut memo = [3; 32];
    memo[..8].copy_from_slice(&number.to_le_bytes());
    let argument = bench_work::TransferArg {
        from_subaccount: None,
        to: Account {
            owner: Principal::from_slice(&[1; 29]),
            subaccount: Some(ByteBuf::from([2; 32])),
        },
        amount: Nat::from(100_000_000_u64),
        fee: Some(Nat::from(10_000_u64)),
        memo: Some(ByteBuf::from(memo)),
        created_at_time: Some(1_700_000_000_000_000_000),
    };
    candid::encode_one(argument).expect("the argument encodes")
}

/// What the attribute adds to a first call, and what a replay takes besides decoding.
pub(crate) fn framework(entries: u64, results: &mut Results, progress: &Progress) {
    progress.say(&format!(
        "endpoints with {} requests known",
        grouped(entries)
    ));
    let replica = replica_at_epoch();
    let subject = Subject::new(&replica, Who::Store);
    subject.fill(entries, REPLY_BYTES, progress);
    replica.advance_time(time_of(entries) + Duration::from_secs(1));
    (0..3).for_each(|_| replica.tick());

    let empty_call = || charged(&subject.canister, "empty", b"DIDL\0\0", |_| ()).1 as u64;
    // Candid forgets the types of arguments when it encodes a reply, which not every call makes it do. What comes after an
    // empty call finds them forgotten.
    let call = |method: &str, number| {
        empty_call();
        let ((), cycles) = charged(&subject.canister, method, &argument(number), |reply| {
            assert_eq!(reply.len(), REPLY_BYTES as usize);
        });
        cycles as u64
    };
    let decoding = |number| {
        empty_call();
        charged(&subject.canister, "decoding", &argument(number), |reply| {
            candid::decode_one::<u64>(reply).expect("decoding answers with a number")
        })
        .0
    };
    let mut add = |benchmark: &str, sample: &dyn Fn(u64) -> u64| {
        let samples: Samples = (0..SAMPLES).map(sample).collect();
        results.add(benchmark, entries, samples.median(), samples.max(), None);
    };
    add("framework/empty_call", &|_| empty_call());
    add("framework/decoding", &decoding);
    add("framework/plain_call", &|number| {
        call("pay_plainly", number)
    });
    for (once, decoded) in [("pay_once", ""), ("pay_once_decoded", "_decoded")] {
        add(&format!("framework/first_call{decoded}"), &|number| {
            call(once, number).saturating_sub(call("pay_ever", number))
        });
        add(&format!("framework/whole_first_call{decoded}"), &|number| {
            call(once, SAMPLES + number)
        });
        add(&format!("framework/whole_replay{decoded}"), &|number| {
            call(once, number)
        });
    }
    outcomes(entries, &subject, empty_call, results);
    durable(entries, &subject, call, results);
}

/// What it takes to say what became of a call that was made.
fn outcomes(
    entries: u64,
    subject: &Subject<'_>,
    empty_call: impl Fn() -> u64,
    results: &mut Results,
) {
    let question = |number| {
        let asked = Asked {
            method: "pay_once".into(),
            arg: ByteBuf::from(argument(number)),
        };
        candid::encode_one(vec![asked]).expect("it encodes")
    };
    let told = |reply: &[u8]| {
        let told: Vec<Result<Outcome, IdempotencyError>> =
            candid::decode_one(reply).expect("it says what became of it");
        assert!(matches!(told[..], [Ok(Outcome::Done { .. })]), "{told:?}");
    };
    let whole = |number| {
        empty_call();
        let canister = &subject.canister;
        charged(canister, "idempotency_outcomes", &question(number), told).1 as u64
    };
    let alone = |number| {
        empty_call();
        let count = |reply: &[u8]| candid::decode_one::<u64>(reply).expect("a number");
        let canister = &subject.canister;
        charged(canister, "outcomes_alone", &question(number), count).0
    };
    let one: Samples = (0..SAMPLES).map(alone).collect();
    let call: Samples = (0..SAMPLES).map(whole).collect();
    for (benchmark, samples) in [("outcome/one", one), ("outcome/call", call)] {
        results.add(benchmark, entries, samples.median(), samples.max(), None);
    }
}

/// What an async method adds to a sync one, and what steps take.
fn durable(
    entries: u64,
    subject: &Subject<'_>,
    call: impl Fn(&str, u64) -> u64,
    results: &mut Results,
) {
    let samples: Samples = (0..SAMPLES)
        .map(|number| {
            let number = 10 * SAMPLES + 2 * number;
            let async_adds =
                call("pay_async_once", number).saturating_sub(call("pay_async_ever", number));
            let sync_adds =
                call("pay_once", number + 1).saturating_sub(call("pay_ever", number + 1));
            async_adds.saturating_sub(sync_adds)
        })
        .collect();
    results.add(
        "durable/pending",
        entries,
        samples.median(),
        samples.max(),
        None,
    );
    let measured: Vec<[u64; 3]> = (0..SAMPLES)
        .map(|key| {
            let canister = &subject.canister;
            let sent = canister
                .send(user(1), "work_in_steps", (key,))
                .expect("accepted");
            for _ in 0..3 {
                canister.replica().tick();
                canister.replica().advance_time(Duration::from_secs(2));
            }
            drop(sent);
            (0..3).for_each(|_| canister.replica().tick());
            let reply = canister.query_raw(user(1), "durable_instructions", ());
            candid::decode_args::<(u64, u64, u64)>(&reply.expect("it answers"))
                .map(|(step, call, resume)| [step, call, resume])
                .expect("three numbers")
        })
        .collect();
    for (place, benchmark) in ["durable/step", "durable/call_step", "durable/resume"]
        .into_iter()
        .enumerate()
    {
        let samples: Samples = measured.iter().map(|measured| measured[place]).collect();
        results.add(benchmark, entries, samples.median(), samples.max(), None);
    }
}

/// An argument with a field that the method does not know.
#[derive(CandidType)]
struct Longer {
    from_subaccount: Option<ByteBuf>,
    to: ledger::Account,
    amount: Nat,
    fee: Option<Nat>,
    memo: Option<ByteBuf>,
    created_at_time: Option<u64>,
    more: u8,
}

/// One transfer of the example ledger. Its store is filled by the bench canister, which takes the ledger's place for as
/// long: a million transfers would take an hour.
pub(crate) fn ledger(entries: u64, results: &mut Results, progress: &Progress) {
    progress.say(&format!(
        "the ledger with {} transactions known",
        grouped(entries)
    ));
    let replica = replica_at_epoch();
    let account = |number| ledger::Account {
        owner: user(number),
        subaccount: None,
    };
    let init = LedgerArg::Init(InitArgs {
        token_name: "Example".into(),
        token_symbol: "EX".into(),
        decimals: None,
        transfer_fee: 10_000_u64.into(),
        minting_account: account(9),
        initial_balances: vec![(account(1), 1_000_000_000_000_u64.into())],
        metadata: vec![],
        max_memo_length: None,
        archives: None,
    });
    let canister = Canister::install(&replica, LEDGER, (init,));
    canister
        .upgrade(BENCH_CANISTER, ())
        .expect("the bench canister takes the ledger's place");
    Subject::of(canister, Who::Store).fill(entries - ROOM_IN_LEDGER, REPLY_BYTES, progress);
    canister
        .upgrade(LEDGER, (LedgerArg::Upgrade(None),))
        .expect("the ledger comes back");
    replica.advance_time(time_of(entries) + Duration::from_secs(1));
    (0..3).for_each(|_| replica.tick());

    let now = replica.get_time().as_nanos_since_unix_epoch();
    let transfer = |number: u64, is_duplicate: bool, is_longer: bool| {
        let mut memo = [3; 32];
        memo[..8].copy_from_slice(&number.to_le_bytes());
        let argument = ledger::TransferArg {
            from_subaccount: None,
            to: ledger::Account {
                owner: Principal::from_slice(&[1; 29]),
                subaccount: Some(ByteBuf::from([2; 32])),
            },
            amount: 1_000_u64.into(),
            fee: Some(10_000_u64.into()),
            memo: Some(ByteBuf::from(memo)),
            created_at_time: Some(now),
        };
        let argument = match is_longer {
            false => candid::encode_one(argument),
            true => candid::encode_one(Longer {
                from_subaccount: argument.from_subaccount,
                to: argument.to,
                amount: argument.amount,
                fee: argument.fee,
                memo: argument.memo,
                created_at_time: argument.created_at_time,
                more: 1,
            }),
        };
        let argument = argument.expect("the argument encodes");
        let ((), cycles) = charged(&canister, "icrc1_transfer", &argument, |reply| {
            let answer = candid::decode_one::<Result<Nat, TransferError>>(reply)
                .expect("a transfer is answered");
            match answer {
                Ok(_) => assert!(!is_duplicate),
                Err(TransferError::Duplicate { .. }) => assert!(is_duplicate),
                Err(other) => panic!("a transfer is done once, not {other:?}"),
            }
        });
        cycles as u64
    };
    for (benchmark, is_duplicate, is_longer) in [
        ("ledger/icrc1_transfer", false, false),
        ("ledger/duplicate", true, false),
        ("ledger/duplicate_decoded", true, true),
    ] {
        let samples: Samples = (0..SAMPLES)
            .map(|number| transfer(number, is_duplicate, is_longer))
            .collect();
        results.add(benchmark, entries, samples.median(), samples.max(), None);
    }
}
