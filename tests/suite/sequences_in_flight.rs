//! Sequence numbers of calls that await: what waits for them, and what does not.

use crate::common::{
    Answer, Failure, Fixture, HOUR, PARTITION, Plan, gap, is_in_progress, is_unknown, ok, used,
    with_canister,
};
use candid::Principal;
use idempotency_core::sequence::FreedLane;
use integration_tests::user;
use pocket_ic::RejectResponse;

/// Frees the lane of the first user at an endpoint.
fn free_lane(
    it: &Fixture<'_>,
    sender: Principal,
    endpoint: &str,
    number: u64,
) -> Result<FreedLane, RejectResponse> {
    (it.canister).update(sender, "free_lane", (endpoint, user(1), number))
}

/// Who installed the canister.
const CONTROLLER: Principal = Principal::anonymous();

#[test]
fn a_strict_lane_waits_for_what_is_in_flight() {
    with_canister(|it| {
        let held = it.hold(user(1), "work_in_order", (0u64, Plan::Hold));
        let again = it.work_at("work_in_order", 0, Plan::Hold);
        assert!(is_in_progress(&again.expect("it answers")));
        assert_eq!(it.work_at("work_in_order", 1, Plan::Answer), Ok(gap(0)));
        assert_eq!(it.next_sequence("work_in_order", 0), 0);
        assert_eq!(it.finish(held), Ok(ok("1: done")));
        assert_eq!(it.next_sequence("work_in_order", 0), 1);
        let next = it.work_at("work_in_order", 1, Plan::Answer);
        assert_eq!(next, Ok(ok("2: done")));
        let first = it.work_at("work_in_order", 0, Plan::Hold);
        assert_eq!(first, Ok(ok("1: done")));
    });
}

#[test]
fn a_pipelined_lane_goes_on_beside_what_is_in_flight() {
    with_canister(|it| {
        let held = it.hold(user(1), "work_pipelined", (0u64, Plan::Hold));
        for number in 1..=64 {
            let answer = it.work_at("work_pipelined", number, Plan::Answer);
            assert_eq!(answer, Ok(ok(&format!("{}: done", number + 1))));
        }
        let again = it.work_at("work_pipelined", 0, Plan::Hold);
        assert!(is_in_progress(&again.expect("it answers")));
        assert_eq!(it.finish(held), Ok(ok("1: done")));
        let again = it.work_at("work_pipelined", 0, Plan::Hold);
        assert_eq!(again, Ok(ok("1: done")));
        assert_eq!(it.executions("work_pipelined"), 65);
    });
}

/// Shows G4.
#[test]
fn a_strict_lane_stops_at_an_unknown_outcome() {
    with_canister(|it| {
        it.work_at("work_in_order", 0, Plan::TrapLater)
            .expect_err("it traps");
        for _ in 0..2 {
            let again = it.work_at("work_in_order", 0, Plan::TrapLater);
            assert!(is_unknown(&again.expect("it answers")));
            assert_eq!(it.work_at("work_in_order", 1, Plan::Answer), Ok(gap(0)));
        }
        assert_eq!(it.next_sequence("work_in_order", 0), 0);
        assert_eq!(it.executions("work_in_order"), 1);
    });
}

#[test]
fn a_strict_lane_is_stuck_until_an_operator_frees_it() {
    with_canister(|it| {
        let endpoint = "work_in_order";
        it.work_at(endpoint, 0, Plan::TrapLater)
            .expect_err("it traps");
        let first = it.work_at(endpoint, 0, Plan::TrapLater);
        assert!(is_unknown(first.as_ref().expect("it answers")));
        it.wait(HOUR + PARTITION);
        it.run_timers();
        assert_eq!(it.stats().lanes.entries, 0, "its record has expired");
        for _ in 0..2 {
            assert_eq!(it.work_at(endpoint, 0, Plan::Answer), first);
            assert_eq!(it.work_at(endpoint, 1, Plan::Answer), Ok(gap(0)));
            it.upgrade();
        }

        free_lane(&it, user(1), endpoint, 0).expect_err("it is not for users");
        let other = free_lane(&it, CONTROLLER, endpoint, 1);
        assert_eq!(other, Ok(FreedLane::NotStuck { next: 0 }));
        let freed = free_lane(&it, CONTROLLER, endpoint, 0);
        assert!(matches!(freed, Ok(FreedLane::Freed { .. })), "{freed:?}");
        let again = free_lane(&it, CONTROLLER, endpoint, 0);
        assert_eq!(again, Ok(FreedLane::NotStuck { next: 1 }));
        assert_eq!(it.next_sequence(endpoint, 0), 1);
        assert_eq!(it.work_at(endpoint, 0, Plan::Answer), Ok(used(1)));
        assert_eq!(it.work_at(endpoint, 1, Plan::Answer), Ok(ok("2: done")));
    });
}

#[test]
fn a_lane_is_not_freed_of_what_runs() {
    with_canister(|it| {
        let endpoint = "work_in_order";
        let held = it.hold(user(1), endpoint, (0u64, Plan::Hold));
        let running = free_lane(&it, CONTROLLER, endpoint, 0);
        assert!(
            matches!(running, Ok(FreedLane::Running { .. })),
            "{running:?}"
        );
        assert_eq!(it.work_at(endpoint, 1, Plan::Answer), Ok(gap(0)));
        assert_eq!(it.finish(held), Ok(ok("1: done")));
        assert_eq!(it.work_at(endpoint, 1, Plan::Answer), Ok(ok("2: done")));
    });
}

#[test]
fn a_pipelined_lane_goes_on_past_an_unknown_outcome() {
    with_canister(|it| {
        it.work_at("work_pipelined", 0, Plan::TrapLater)
            .expect_err("it traps");
        for number in 1..=200 {
            let answer = it.work_at("work_pipelined", number, Plan::AnswerAtOnce);
            assert_eq!(answer, Ok(ok(&format!("{}: at once", number + 1))));
        }
        let again = it.work_at("work_pipelined", 0, Plan::TrapLater);
        assert!(is_unknown(&again.expect("it answers")));
        assert_eq!(it.next_sequence("work_pipelined", 0), 201);
    });
}

#[test]
fn a_trap_before_the_first_await_leaves_the_number() {
    with_canister(|it| {
        for endpoint in ["work_in_order", "work_pipelined"] {
            it.work_at(endpoint, 0, Plan::TrapFirst)
                .expect_err("it traps");
            assert_eq!(it.next_sequence(endpoint, 0), 0);
            assert_eq!(it.work_at(endpoint, 0, Plan::Answer), Ok(ok("1: done")));
        }
    });
}

#[test]
fn an_error_before_the_first_await_that_is_forgotten_leaves_the_number() {
    with_canister(|it| {
        let endpoint = "work_in_order_forgetfully";
        let own = |text: &str| -> Answer { Err(Failure::Own(text.into())) };
        for execution in 1..=2 {
            let answer = it.work_at(endpoint, 0, Plan::FailFirst);
            assert_eq!(answer, Ok(own(&format!("{execution}: failed first"))));
            assert_eq!(it.next_sequence(endpoint, 0), 0);
        }
        let late = own("3: failed later");
        for _ in 0..2 {
            assert_eq!(it.work_at(endpoint, 0, Plan::FailLater), Ok(late.clone()));
        }
        assert_eq!(it.next_sequence(endpoint, 0), 1);
        assert_eq!(it.work_at(endpoint, 1, Plan::Answer), Ok(ok("4: done")));
    });
}

/// Shows G4, G8.
#[test]
fn an_upgrade_in_flight_is_an_unknown_outcome() {
    with_canister(|it| {
        for endpoint in ["work_in_order", "work_pipelined"] {
            let held = it.hold(user(1), endpoint, (0u64, Plan::Hold));
            it.upgrade();
            let again = it.work_at(endpoint, 0, Plan::Hold);
            assert!(is_unknown(&again.expect("it answers")), "{endpoint}");
            let next = it.work_at(endpoint, 1, Plan::Answer);
            match endpoint {
                "work_in_order" => assert_eq!(next, Ok(gap(0))),
                _ => assert_eq!(next, Ok(ok("2: done"))),
            }
            it.release(&held);
            let again = it.work_at(endpoint, 0, Plan::Hold);
            assert!(is_unknown(&again.expect("it answers")), "{endpoint}");
            assert_eq!(
                it.executions(&format!("{endpoint}, after the await")),
                match endpoint {
                    "work_in_order" => 0,
                    _ => 1,
                }
            );
        }
    });
}
