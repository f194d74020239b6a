//! Each kind of fault happens, and does what it says.

use std::collections::BTreeSet;

use candid::Principal;
use local_replica::explore::{Explored, FaultKind, Message, Step, System, View};

use crate::world::{PUPPET, SECOND, answer, counter, explore, message, relay_arg, two};

/// Counters of the caller and the callee, and what the user got.
type End = (Option<u32>, Option<u32>, Option<Result<Vec<u8>, String>>);

fn end(view: &mut View<'_>, a: Principal, b: Principal) -> End {
    (counter(view, a), counter(view, b), answer(view, 0))
}

/// What one call by way of another canister can end in, with one fault of a kind; and how often that was injected.
fn ends(how: &str, kind: FaultKind) -> (BTreeSet<End>, u64) {
    let (found, ends) = explored(how, 1, kind, |system, _| system);
    (ends, count(&found, kind))
}

fn explored(
    how: &str,
    faults: u32,
    kind: FaultKind,
    more: impl Fn(System, Principal) -> System,
) -> (Explored, BTreeSet<End>) {
    let (host, a, b) = two(&PUPPET);
    let system = System::new(host)
        .message(message(a, how, &relay_arg(b, "inc")))
        .faults(faults, [kind]);
    let (found, _, ends) = explore(more(system, b), move |view| end(view, a, b));
    assert!(found.holds(), "{found}");
    (found, ends)
}

fn count(found: &Explored, kind: FaultKind) -> u64 {
    found.counts.faults.get(&kind).copied().unwrap_or(0)
}

/// The counter of the callee, as the caller passes it on.
fn reply(counter: u32) -> Option<Result<Vec<u8>, String>> {
    Some(Ok(counter.to_le_bytes().to_vec()))
}

/// The code of the reject that the caller saw.
fn code(end: &End) -> Option<u32> {
    let (code, _) = end.2.as_ref()?.as_ref().ok()?.split_first_chunk::<4>()?;
    Some(u32::from_le_bytes(*code))
}

/// The text that the user saw.
fn text(end: &End) -> &str {
    match &end.2 {
        Some(Err(text)) => text,
        _ => "",
    }
}

const USUAL: (u32, u32) = (1, 1);

fn usual() -> End {
    (Some(USUAL.0), Some(USUAL.1), reply(1))
}

#[test]
fn nothing_without_a_fault() {
    let (_, ends) = explored("relay", 0, FaultKind::Trap, |system, _| system);
    assert_eq!(ends, BTreeSet::from([usual()]));
}

#[test]
fn a_trap_of_each_message() {
    let (ends, times) = ends("relay", FaultKind::Trap);
    // Of the user's message, the call, and the answer.
    assert_eq!(times, 3);
    assert_eq!(ends.len(), 4);
    let injected = "injected by local-replica";
    let caller = |end: &&End| end.0 == Some(0) && end.1 == Some(0) && text(end).contains(injected);
    assert_eq!(ends.iter().filter(caller).count(), 1);
    let callee = |end: &&End| end.0 == Some(1) && end.1 == Some(0) && code(end) == Some(5);
    assert_eq!(ends.iter().filter(callee).count(), 1);
    // The cleanup adds 1,000.
    let callback =
        |end: &&End| end.0 == Some(1_001) && end.1 == Some(1) && text(end).contains(injected);
    assert_eq!(ends.iter().filter(callback).count(), 1);
}

#[test]
fn a_trap_of_the_cleanup() {
    let (ends, times) = ends("relay", FaultKind::CleanupTrap);
    assert_eq!(times, 1);
    let other = ends.iter().find(|end| **end != usual()).unwrap();
    assert_eq!((other.0, other.1), (Some(1), Some(1)));
    assert!(
        text(other).contains("call_on_cleanup also failed"),
        "{}",
        text(other)
    );
}

#[test]
fn a_call_that_is_refused() {
    let (ends, times) = ends("relay", FaultKind::Refuse);
    assert_eq!(times, 1);
    let other = ends.iter().find(|end| **end != usual()).unwrap();
    assert_eq!((other.0, other.1, code(other)), (Some(1), Some(0), Some(2)));
}

#[test]
fn a_request_that_is_lost() {
    let (ends, times) = ends("relay_bounded", FaultKind::LoseRequest);
    // The user's and the canister's.
    assert_eq!(times, 2);
    let canisters = |end: &&End| (end.0, end.1, code(end)) == (Some(0), Some(0), Some(6));
    assert_eq!(ends.iter().filter(canisters).count(), 1);
    assert!(ends.contains(&(Some(0), Some(0), None)));
    assert_eq!(ends.len(), 3);
}

#[test]
fn an_answer_that_is_lost() {
    let (ends, times) = ends("relay_bounded", FaultKind::LoseAnswer);
    // The user's, and the canister's while the call is under way and while the answer is.
    assert_eq!(times, 3);
    let canisters = |end: &&End| (end.0, end.1, code(end)) == (Some(0), Some(1), Some(6));
    assert_eq!(ends.iter().filter(canisters).count(), 1);
    assert!(ends.contains(&(Some(0), Some(1), None)));
    assert_eq!(ends.len(), 3);
}

#[test]
fn a_guaranteed_response_is_never_lost() {
    for kind in [FaultKind::LoseRequest, FaultKind::LoseAnswer] {
        let (ends, times) = ends("relay", kind);
        // The user's only.
        assert_eq!(times, 1);
        assert!(ends.iter().all(|end| code(end) != Some(6)));
    }
}

#[test]
fn an_upgrade_anywhere() {
    // Adds one to the counter, by way of stable memory.
    let (ends, times) = ends("relay", FaultKind::Upgrade);
    // Two canisters in four states.
    assert_eq!(times, 8);
    let callers = ends
        .iter()
        .filter(|end| end.0 == Some(2) && end.1 == Some(1));
    assert!(callers.count() > 0);
    // Before and after the call: the reply tells.
    assert!(ends.contains(&(Some(1), Some(2), reply(2))));
    assert!(ends.contains(&(Some(1), Some(2), reply(1))));
}

#[test]
fn an_upgrade_to_another_module() {
    let other = r#"(module (memory 1)
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (data (i32.const 0) "\2a\00\00\00")
        (func (export "canister_query get") (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#;
    let other = wat::parse_str(
        other
            .replace("(memory 1)", "")
            .replace("(data", "(memory 1) (data"),
    )
    .unwrap();
    let more = |system: System, b| system.upgrade_to(b, other.clone(), Vec::new());
    let (_, ends) = explored("relay", 1, FaultKind::Upgrade, more);
    // It has no `inc`.
    let is_new = |end: &&End| end.0 == Some(1) && end.1 == Some(42) && code(end) == Some(5);
    assert_eq!(ends.iter().filter(is_new).count(), 1, "{ends:?}");
}

#[test]
fn an_upgrade_whose_hooks_trap_changes_nothing() {
    let (ends, times) = ends("relay", FaultKind::UpgradeTrap);
    // Two hooks of two canisters in four states.
    assert_eq!(times, 16);
    assert_eq!(ends, BTreeSet::from([usual()]));
}

#[test]
fn a_stop_and_a_start() {
    let (found, ends) = explored("relay", 1, FaultKind::Stop, |system, _| system);
    assert!(count(&found, FaultKind::Stop) >= 6);
    // The callee refuses the call; the caller refuses the user; nothing happens at other times.
    let callee = |end: &&End| (end.0, end.1, code(end)) == (Some(1), Some(0), Some(5));
    assert_eq!(ends.iter().filter(callee).count(), 1, "{ends:?}");
    let caller = |end: &&End| end.0 == Some(0) && text(end).contains("is stopped");
    assert_eq!(ends.iter().filter(caller).count(), 1, "{ends:?}");
    assert!(ends.contains(&usual()));
}

#[test]
fn a_callee_that_is_uninstalled() {
    let (ends, times) = ends("relay", FaultKind::Uninstall);
    assert!(times >= 6);
    let before = |end: &&End| (end.0, end.1, code(end)) == (Some(1), None, Some(5));
    assert!(ends.iter().filter(before).count() > 0, "{ends:?}");
    // After it has answered.
    assert!(ends.contains(&(Some(1), None, reply(1))));
    // The caller, while it waits.
    let caller = |end: &&End| end.0.is_none() && text(end).contains("uninstalled");
    assert!(ends.iter().filter(caller).count() > 0, "{ends:?}");
}

#[test]
fn a_canister_without_cycles() {
    let (found, ends) = explored("relay", 1, FaultKind::OutOfCycles, |system, _| system);
    assert!(count(&found, FaultKind::OutOfCycles) > 0);
    let callee = |end: &&End| (end.0, end.1, code(end)) == (Some(1), Some(0), Some(2));
    assert_eq!(ends.iter().filter(callee).count(), 1, "{ends:?}");
    // It gets them back, and everybody their answer.
    assert!(ends.iter().all(|end| end.2.is_some()));
}

#[test]
fn a_jump_of_the_clock() {
    let more = |system: System, _| system.clock_jump(60 * SECOND);
    let (found, ends) = explored("relay_bounded", 1, FaultKind::Clock, more);
    assert!(count(&found, FaultKind::Clock) > 0);
    // The wait ends after ten seconds: with the call not executed, or with its answer lost.
    let codes = |executed| move |end: &&End| end.1 == Some(executed) && code(end) == Some(6);
    assert_eq!(ends.iter().filter(codes(0)).count(), 1, "{ends:?}");
    assert_eq!(ends.iter().filter(codes(1)).count(), 1, "{ends:?}");
}

#[test]
fn faults_of_one_canister_only() {
    let more = |system: System, b| system.faults_of([b]);
    let (found, ends) = explored("relay", 1, FaultKind::Trap, more);
    assert_eq!(count(&found, FaultKind::Trap), 1);
    assert!(ends.iter().all(|end| end.0 == Some(1)));
}

#[test]
fn no_more_faults_than_allowed() {
    let (_, b_only) = explored("relay", 1, FaultKind::Upgrade, |system, b| {
        system.faults_of([b])
    });
    assert!(b_only.iter().all(|end| end.1 <= Some(2)));
    let (_, twice) = explored("relay", 2, FaultKind::Upgrade, |system, b| {
        system.faults_of([b])
    });
    assert!(twice.iter().any(|end| end.1 == Some(3)));
    assert!(twice.iter().all(|end| end.1 <= Some(3)));
    assert!(b_only.is_subset(&twice));
}

#[test]
fn a_fault_that_is_left_out() {
    let while_it_waits = |view: &View<'_>, step: &Step| matches!(step, Step::Upgrade { canister, .. } if view.calls(*canister).next().is_some());
    let (all, _) = explored("relay", 1, FaultKind::Upgrade, |system, _| system);
    let (rest, ends) = explored("relay", 1, FaultKind::Upgrade, |system, _| {
        system.except(move |view, step| while_it_waits(view, step))
    });
    // While the caller waits: before the callee is called, and after it.
    assert_eq!(
        count(&all, FaultKind::Upgrade) - count(&rest, FaultKind::Upgrade),
        2
    );
    assert!(ends.iter().all(|end| end.2.is_some()), "{ends:?}");
}

#[test]
fn an_invariant_knows_the_faults_and_the_calls() {
    let (host, a, b) = two(&PUPPET);
    let system = System::new(host)
        .message(message(a, "relay", &relay_arg(b, "inc")))
        .faults(1, [FaultKind::Trap]);
    let (_, seen, last) = explore(system, move |view| {
        let calls = view
            .calls(a)
            .map(|(callee, method)| (callee, method.to_owned()));
        (
            calls.collect::<Vec<_>>(),
            view.faults()
                .iter()
                .filter_map(Step::fault)
                .collect::<Vec<_>>(),
            counter(view, b),
        )
    });
    let call = vec![(b, "inc".to_owned())];
    assert!(seen.contains(&(call.clone(), vec![], Some(1))));
    assert!(seen.contains(&(call, vec![FaultKind::Trap], Some(0))));
    assert!(last.contains(&(vec![], vec![], Some(1))));
    assert!(
        last.iter()
            .all(|(_, faults, counter)| !faults.is_empty() || *counter == Some(1))
    );
}

/// A user's message to a canister that traps by itself is no fault.
#[test]
fn what_goes_wrong_by_itself_is_no_fault() {
    let (host, a, _) = two(&PUPPET);
    let trap: Message = message(a, "trap", &[]);
    let mut system =
        System::new(host)
            .message(trap)
            .finally("fails", |view| match answer(view, 0) {
                Some(Err(text)) if text.contains("boom") => Ok(()),
                other => Err(format!("{other:?}")),
            });
    assert!(system.explore().unwrap().holds());
}
