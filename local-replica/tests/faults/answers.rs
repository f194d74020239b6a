//! Answers that are lost, late, or say the wrong thing.

use local_replica::faults::{AnswerFault, Fault};

use crate::world::*;

#[test]
fn an_answer_to_a_best_effort_call_can_be_lost() {
    let mut world = World::with(|world| vec![answer(world.a, AnswerFault::Lose)]);
    let (code, text) = seen(world.relay("relay_bounded"));
    assert_eq!(code, 6);
    assert!(text.contains("injected by local-replica"));
    assert_eq!(world.counter(world.b), 1, "the callee ran");
}

#[test]
fn an_answer_to_a_guaranteed_call_is_never_lost() {
    let mut world = World::with(|world| vec![answer(world.a, AnswerFault::Lose)]);
    assert_eq!(number_of(world.relay("relay")), 1);
    let (_, reason) = &world.report().refused[0];
    assert_eq!(
        reason,
        "the answer to a guaranteed-response call always arrives"
    );
    assert!(world.report().applied.0.is_empty());
}

#[test]
fn an_answer_can_be_late() {
    let rounds = 5;
    let mut world = World::with(|world| vec![answer(world.a, AnswerFault::Delay { rounds })]);
    let before = world.host.replica.time_ns;
    assert_eq!(number_of(world.relay("relay")), 1);
    assert_eq!(world.host.replica.time_ns - before, rounds + 1);
}

#[test]
fn an_answer_later_than_the_deadline_finds_no_one_waiting() {
    let delay = AnswerFault::Delay { rounds: 3 };
    let mut world = World::with(|world| vec![answer(world.a, delay)]);
    let arg = relay_arg(world.b, "inc");
    let message = world.send(world.a, "relay_bounded", arg);
    world.host.replica.round();
    world.host.replica.time_ns += 60 * SECOND;
    for _ in 0..5 {
        world.host.replica.round();
    }
    let answer = world.host.take_answer(&message).expect("answered");
    assert_eq!(seen(answer), (6, "Call deadline has expired.".to_owned()));
    assert_eq!(world.counter(world.b), 1);
}

#[test]
fn a_reject_can_come_although_the_callee_ran() {
    for code in [4, 5] {
        let mut world = World::with(|world| vec![answer(world.a, AnswerFault::Reject { code })]);
        assert_eq!(seen(world.relay("relay")).0, u32::from(code));
        assert_eq!(world.counter(world.b), 1);
    }
}

#[test]
fn a_users_answer_can_be_lost() {
    let mut world = World::with(|world| {
        let (canister, number) = (world.a, 1);
        vec![Fault::LoseIngressAnswer { canister, number }]
    });
    let first = world.send(world.a, "inc", Vec::new());
    for _ in 0..5 {
        world.host.replica.round();
        assert_eq!(world.host.take_answer(&first), None);
    }
    assert_eq!(world.counter(world.a), 1, "executed all the same");
    assert_eq!(number(&world.inc(world.a).unwrap()), 2);
}
