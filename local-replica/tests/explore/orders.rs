//! Which orders there are.

use std::collections::BTreeSet;

use candid::Principal;
use local_replica::explore::{FaultKind, System, View, When};

use crate::world::{PUPPET, RECORDER, answer, explore, message, relay_arg, two};

fn log(view: &mut View<'_>, canister: Principal) -> Vec<u8> {
    view.query(canister, "log", Vec::new()).unwrap()
}

#[test]
fn messages_of_users_have_no_order() {
    let (host, a, _) = two(&RECORDER);
    let system = System::new(host)
        .message(message(a, "note", &[1]))
        .message(message(a, "note", &[2]))
        .message(message(a, "note", &[3]));
    let (found, _, logs) = explore(system, move |view| log(view, a));
    assert!(found.holds());
    let orders = ["123", "132", "213", "231", "312", "321"];
    let orders = orders.map(|order| order.bytes().map(|digit| digit - b'0').collect());
    assert_eq!(logs, BTreeSet::from(orders));
}

#[test]
fn a_message_waits_for_another_one() {
    let (host, a, _) = two(&RECORDER);
    let system = System::new(host)
        .message(message(a, "note", &[1]))
        .message(message(a, "note", &[2]).when(When::Answered(0)))
        .message(message(a, "no such method", &[]))
        .message(message(a, "note", &[3]).when(When::Rejected(2)))
        .message(message(a, "note", &[4]).when(When::Rejected(0)))
        .message(message(a, "note", &[5]).when(When::Lost(0)));
    let (found, _, logs) = explore(system, move |view| log(view, a));
    assert!(found.holds());
    let orders = [vec![1, 2, 3], vec![1, 3, 2], vec![3, 1, 2]];
    assert_eq!(logs, BTreeSet::from(orders));
}

#[test]
fn a_lost_message_is_sent_again() {
    let (host, a, _) = two(&RECORDER);
    let system = System::new(host)
        .message(message(a, "note", &[1]))
        .message(message(a, "note", &[2]).when(When::Lost(0)))
        .message(message(a, "note", &[3]).when(When::Over(1)))
        .faults(1, [FaultKind::LoseRequest, FaultKind::LoseAnswer]);
    let (found, _, logs) = explore(system, move |view| log(view, a));
    assert!(found.holds());
    // Without a fault; the first message lost on its way; its answer lost.
    let orders = [vec![1], vec![2, 3], vec![1, 2, 3]];
    assert_eq!(logs, BTreeSet::from(orders));
}

#[test]
fn calls_of_a_pair_keep_their_order_and_answers_have_none() {
    let (host, a, b) = two(&RECORDER);
    let system = System::new(host).message(message(a, "ask", b.as_slice()));
    let (found, _, logs) = explore(system, move |view| (log(view, a), log(view, b)));
    assert!(found.holds());
    let logs_of_b: BTreeSet<_> = logs.iter().map(|(_, log)| log.clone()).collect();
    assert_eq!(logs_of_b, BTreeSet::from([vec![1, 2]]));
    let logs_of_a: BTreeSet<_> = logs.into_iter().map(|(log, _)| log).collect();
    assert_eq!(logs_of_a, BTreeSet::from([vec![11, 12], vec![12, 11]]));
}

#[test]
fn calls_of_two_callers_have_no_order() {
    let (host, a, b) = two(&RECORDER);
    let system = System::new(host)
        .message(message(a, "ask", b.as_slice()))
        .message(message(b, "ask", b.as_slice()));
    let (_, _, logs) = explore(system, move |view| {
        let log = log(view, b);
        log.into_iter()
            .filter(|byte| *byte < 10)
            .collect::<Vec<u8>>()
    });
    // Two sequences of 1 and 2, merged.
    assert_eq!(logs, BTreeSet::from([vec![1, 1, 2, 2], vec![1, 2, 1, 2]]));
}

#[test]
fn an_answer_overtakes_a_call_that_left_earlier() {
    let (host, a, b) = two(&RECORDER);
    let system = System::new(host).message(message(a, "ask_back", b.as_slice()));
    let (found, _, logs) = explore(system, move |view| log(view, a));
    assert!(found.holds());
    assert_eq!(logs, BTreeSet::from([vec![4, 13], vec![13, 4]]));
}

#[test]
fn a_refused_call_is_known_to_have_failed_before_an_earlier_one_arrives() {
    let (host, a, b) = two(&RECORDER);
    let system = System::new(host)
        .message(message(a, "ask", b.as_slice()))
        .faults(1, [FaultKind::Refuse]);
    let (_, states, _) = explore(system, move |view| (log(view, a), log(view, b)));
    assert!(states.contains(&(vec![12], vec![])));
}

/// The management canister's answers are as those of others; it may change everything, so nothing commutes with it.
#[test]
fn calls_to_the_management_canister() {
    let management = Principal::management_canister();
    let (host, a, _) = two(&PUPPET);
    let random = message(a, "relay", &relay_arg(management, "raw_rand"));
    let system = System::new(host).message(random.clone()).message(random);
    let (found, _, answers) = explore(system, |view| {
        [0, 1].map(|message| answer(view, message).unwrap_or(Ok(vec![])))
    });
    assert!(found.holds());
    assert_eq!(found.counts.commuted, 0);
    // Two different numbers, in either order.
    let bytes = |answer: &Result<Vec<u8>, String>| answer.as_ref().unwrap().clone();
    let answers: Vec<_> = answers
        .iter()
        .map(|both| both.each_ref().map(bytes))
        .collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0][0], answers[1][1]);
    assert_eq!(answers[0][1], answers[1][0]);
    assert_ne!(answers[0][0], answers[0][1]);
}
