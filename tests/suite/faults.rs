//! What other tests can't make happen: faults inside of the replica. On PocketIC these are skipped.

use crate::common::{Answer, Plan as Work, ok, with_canister};
use integration_tests::{Faults, user};
use local_replica::faults::{Fault, MessageFault, Plan, Schedule};

/// Shows G3.
#[test]
fn a_trap_at_any_system_call_leaves_all_or_nothing() {
    with_canister(|it| {
        for call in 1..200u64 {
            let fault = Fault::Message {
                canister: it.canister.id(),
                number: 1,
                what: MessageFault::TrapAtCall(call),
            };
            let plan = Plan::Schedule(Schedule(vec![fault]));
            let Some(faults) = Faults::install(it.replica, &plan) else {
                return;
            };
            let key = call.to_le_bytes().to_vec();
            let first: Result<Answer, _> = it.canister.update(user(1), "say", (key.clone(), "hi"));
            if first.is_ok() {
                assert_eq!(faults.report().refused.len(), 1, "it is past the last call");
                assert!(call > 5, "a message makes several calls");
                return;
            }
            assert_eq!(it.executions("say"), 0);
            assert_eq!(it.stats().main.entries, 0);
            faults.stop();
        }
        panic!("no end of system calls");
    });
}

/// Shows G1.
#[test]
fn a_lost_answer_is_asked_for_again() {
    with_canister(|it| {
        let fault = Fault::LoseIngressAnswer {
            canister: it.canister.id(),
            number: 1,
        };
        let plan = Plan::Schedule(Schedule(vec![fault]));
        let Some(faults) = Faults::install(it.replica, &plan) else {
            return;
        };
        let args = (b"key".to_vec(), Work::Answer);
        let sent = it.canister.send(user(1), "work", args).expect("accepted");
        for _ in 0..10 {
            it.replica.tick();
            assert_eq!(it.canister.answer_so_far::<Answer>(&sent), None);
        }
        assert_eq!(faults.report().applied.0.len(), 1);
        assert_eq!(it.work("work", b"key", Work::Answer), Ok(ok("1: done")));
        assert_eq!(it.executions("work"), 1);
    });
}
