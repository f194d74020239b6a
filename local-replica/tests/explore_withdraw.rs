//! A bank that pays through a ledger, explored: the double spends of the unsafe ways, and none of the safe one.
#![forbid(unsafe_code)]

use candid::{Principal, decode_one, encode_args, encode_one};
use local_replica::explore::{Counts, Explored, FaultKind, Message, System, View, When};
use local_replica::in_process::{CanisterInstallMode, InProcess};

const USER: Principal = Principal::anonymous();
const DEPOSIT: u64 = 100;

/// Everything that can go wrong.
const FAULTS: [FaultKind; 10] = [
    FaultKind::Trap,
    FaultKind::CleanupTrap,
    FaultKind::Refuse,
    FaultKind::LoseRequest,
    FaultKind::LoseAnswer,
    FaultKind::Upgrade,
    FaultKind::UpgradeTrap,
    FaultKind::Stop,
    FaultKind::Uninstall,
    FaultKind::OutOfCycles,
];

/// The module, as `cargo xtask wasm` builds it.
fn module() -> Vec<u8> {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.pop();
    path.push("canisters/withdraw_canister.wasm");
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask wasm`", path.display()))
}

fn ask(view: &mut View<'_>, canister: Principal, method: &str) -> Option<u64> {
    let reply = view.query(canister, method, encode_one(()).unwrap()).ok()?;
    decode_one(&reply).ok()
}

/// Two users withdraw everything at the same time, and one of them again if the answer is lost.
fn system(method: &str, most_faults: u32) -> System {
    let mut host = InProcess::new();
    let [bank, ledger] = [(); 2].map(|()| {
        let id = host.create_canister(USER, 100_000_000_000_000).unwrap();
        let mode = CanisterInstallMode::Install;
        host.install(USER, id, mode, module(), encode_one(()).unwrap())
            .unwrap();
        id
    });
    let argument = encode_args((ledger, DEPOSIT)).unwrap();
    let withdraw = Message::new(USER, bank, method, argument);
    System::new(host)
        .name(bank, "bank")
        .name(ledger, "ledger")
        .message(withdraw.clone())
        .message(withdraw.clone())
        .message(withdraw.when(When::Lost(0)))
        .faults(most_faults, FAULTS)
        .always("the ledger pays no more than the bank had", move |view| {
            // A ledger without code has paid what it has paid.
            let paid = ask(view, ledger, "paid").unwrap_or(0);
            if paid <= DEPOSIT {
                return Ok(());
            }
            Err(format!("paid {paid} of {DEPOSIT}"))
        })
        .finally("what was paid was taken off", move |view| {
            let paid = ask(view, ledger, "paid").unwrap_or(0);
            let rest = ask(view, bank, "balance").unwrap_or(0);
            if paid + rest <= DEPOSIT {
                return Ok(());
            }
            Err(format!("paid {paid}, and {rest} are left"))
        })
}

/// Explores, prints what was found, and replays it.
fn explore(method: &str, most_faults: u32) -> Explored {
    let mut system = system(method, most_faults);
    let start = std::time::Instant::now();
    let found = system.explore().unwrap();
    println!(
        "{method}, up to {most_faults} faults, {:?}:\n{found}",
        start.elapsed()
    );
    if let Some(violation) = &found.violation {
        let replayed = system.replay(&violation.schedule).unwrap();
        assert_eq!(replayed.story, violation.story);
        let violated = (violation.invariant.clone(), violation.reason.clone());
        assert_eq!(replayed.violated, Some(violated));
    }
    found
}

#[test]
fn two_at_a_time_are_paid_twice() {
    let violation = explore("withdraw_late", 2).violation.unwrap();
    assert_eq!(violation.reason, "paid 200 of 100");
    assert_eq!(violation.schedule.faults(), 0);
    assert_eq!(
        violation.story,
        [
            "message 0, `withdraw_late`, reaches bank",
            "message 1, `withdraw_late`, reaches bank",
            "bank's call of `pay` reaches ledger",
            "bank's call of `pay` reaches ledger",
        ]
    );
}

#[test]
fn a_rollback_of_what_was_paid_is_found() {
    assert!(explore("withdraw_and_roll_back", 0).holds());
    let violation = explore("withdraw_and_roll_back", 2).violation.unwrap();
    assert_eq!(violation.schedule.faults(), 1);
    assert_eq!(violation.reason, "paid 100, and 100 are left");
}

#[test]
fn the_safe_one_withstands_two_faults() {
    let found = explore("withdraw", 2);
    assert!(found.holds(), "{found}");
    let Counts {
        states,
        finals,
        deliveries,
        faults,
        ..
    } = found.counts;
    assert!(states > 4_500 && finals > 900 && deliveries > 4_500);
    // This canister has no hooks that could trap.
    let absent = FAULTS.iter().filter(|kind| !faults.contains_key(kind));
    assert_eq!(absent.collect::<Vec<_>>(), [&FaultKind::UpgradeTrap]);
}

#[test]
fn no_state_is_left_out_with_the_orders() {
    let pruned = explore("withdraw", 2).counts;
    let mut every_order = system("withdraw", 2).every_order();
    let complete = every_order.explore().unwrap().counts;
    assert_eq!(pruned.states, complete.states);
    assert_eq!(pruned.finals, complete.finals);
    assert_eq!(pruned.longest, complete.longest);
    assert!(pruned.steps < complete.steps);
}
