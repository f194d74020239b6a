//! What an upgrade leaves: everything, and calls in flight unknown.

use crate::common::{
    Answer, Fixture, HOUR, Held, Plan, Refusal, is_in_progress, is_unknown, ok, refused,
    with_canister,
};
use candid::Principal;
use integration_tests::{Canister, TEST_CANISTER, user};
use std::time::Duration;

/// Shows G8.
#[test]
fn records_survive_any_number_of_upgrades() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        for upgrade in 1..=3 {
            it.upgrade();
            assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
            assert_eq!(it.say("say", b"key", "other"), refused(Refusal::KeyReused));
            assert_eq!(it.stats().main.incarnation, 1 + upgrade);
        }
        assert_eq!(it.executions("say"), 1);
    });
}

/// Shows G4, G8.
#[test]
fn a_call_in_flight_is_unknown_at_once_and_for_good() {
    with_canister(|it| {
        let args = (b"key".to_vec(), Plan::Hold);
        let held = it.hold(user(1), "work", args);
        it.upgrade();
        let again = it.work("work", b"key", Plan::Hold).expect("it answers");
        assert!(is_unknown(&again), "{again:?}");

        // The answer of the outcall arrives in a heap that knows nothing of it.
        it.finish(held).expect_err("nobody is left to answer");
        let again = it.work("work", b"key", Plan::Hold).expect("it answers");
        assert!(is_unknown(&again), "{again:?}");
        assert_eq!(it.executions("work"), 1);
        assert_eq!(it.executions("work, after the await"), 0);
        assert_eq!(
            it.say("say", b"key", "hello"),
            ok("1: hello"),
            "everything else works"
        );
    });
}

#[test]
fn reinstalling_forgets() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        it.canister
            .reinstall(TEST_CANISTER, ())
            .expect("the reinstall succeeds");
        assert_eq!(it.say("say", b"key", "other"), ok("1: other"));
    });
}

/// Shows G8.
#[test]
fn opening_the_stores_costs_the_same_however_full_they_are() {
    with_canister(|it| {
        let cost = || {
            it.upgrade();
            let cost: u64 = it
                .canister
                .query(user(1), "post_upgrade_instructions", ())
                .expect("it answers");
            cost
        };
        assert_eq!(it.say("say", b"first", "hello"), ok("1: hello"));
        let with_one = cost();
        for number in 0..500u64 {
            it.say("say", &number.to_le_bytes(), "hello")
                .expect("it answers");
        }
        let with_many = cost();
        assert!(with_one > 0);
        assert!(
            with_many < with_one + 50_000,
            "{with_one} instructions, then {with_many}"
        );
        assert!(
            with_many < 2_000_000,
            "{with_many} instructions for six stores"
        );
    });
}

#[test]
fn the_timer_is_set_again() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        it.upgrade();
        it.wait(HOUR * 2);
        it.run_timers();
        assert_eq!(it.stats().main.entries, 0);
    });
}

/// Sends a `fetch`, which answers with what its outcall was answered with.
fn fetch(it: &Fixture<'_>, caller: Principal, path: &str, number: u64) -> Held {
    let args = (Some(path.as_bytes()), path, number);
    it.hold(caller, "fetch", args)
}

/// The same request again.
fn fetch_again(it: &Fixture<'_>, caller: Principal, path: &str, number: u64) -> Answer {
    let args = (Some(path.as_bytes()), path, number);
    it.canister
        .update(caller, "fetch", args)
        .expect("it answers")
}

fn url(path: &str) -> String {
    format!("https://example.com/{path}")
}

/// Two heaps of one history have what awaits an answer at the same addresses. Here is the beginning of the first.
fn begin_history(it: &Fixture<'_>) {
    it.say("say", b"the store is not empty", "hi")
        .expect("it runs");
    it.upgrade();
}

/// Shows G5, G15.
#[test]
fn an_answer_from_before_an_upgrade_is_not_given_to_another_callers_request() {
    with_canister(|it| {
        begin_history(&it);
        let old = fetch(&it, user(1), "old", 0);
        it.upgrade();
        let new = fetch(&it, user(2), "new", 0);
        it.release(&old);
        assert!(is_in_progress(&fetch_again(&it, user(2), "new", 0)));
        let told = it.canister.answer_so_far::<Answer>(&old.sent);
        told.expect("it ends").expect_err("its heap is gone");
        assert!(is_unknown(&fetch_again(&it, user(1), "old", 0)));

        let own = ok(&url("new"));
        assert_eq!(it.finish(new), Ok(own.clone()));
        assert_eq!(fetch_again(&it, user(2), "new", 0), own);
        assert_eq!(it.executions("fetch"), 2);
    });
}

/// Shows G5, G15.
#[test]
fn all_requests_after_an_upgrade_get_their_own_answers() {
    with_canister(|it| {
        begin_history(&it);
        let path = |when: &str, number: u8| format!("{when}{number}");
        let old: Vec<Held> = (0..8)
            .map(|number| fetch(&it, user(1), &path("old", number), 0))
            .collect();
        it.upgrade();
        let send = |number: u8| fetch(&it, user(2), &path("new", number), 0);
        let mut new: Vec<Held> = (0..20).map(send).collect();
        for (number, old) in (20..).zip(&old) {
            it.release(old);
            // Takes the place of one that was done away with, if there is such a place.
            new.push(send(number));
        }
        for (number, new) in (0..).zip(new) {
            let path = path("new", number);
            it.release(&new);
            let own = ok(&url(&path));
            let told = it.canister.answer_so_far::<Answer>(&new.sent);
            assert_eq!(told, Some(Ok(own.clone())), "{path}");
            assert_eq!(fetch_again(&it, user(2), &path, 0), own);
        }
    });
}

/// Shows G15.
#[test]
fn nor_is_it_given_to_a_request_without_a_key() {
    with_canister(|it| {
        let none = None::<Vec<u8>>;
        let send = |caller, path: &str| it.hold(caller, "fetch", (&none, path, 0u64));
        begin_history(&it);
        let old = send(user(1), "old");
        it.upgrade();
        let new = send(user(2), "new");
        it.release(&old);
        let told = it.canister.answer_so_far::<Answer>(&old.sent);
        told.expect("it ends").expect_err("its heap is gone");
        assert_eq!(it.finish(new), Ok(ok(&url("new"))));
    });
}

/// Shows G15.
#[test]
fn nor_to_one_of_the_same_caller_that_has_done_more() {
    with_canister(|it| {
        begin_history(&it);
        let old = fetch(&it, user(1), "old", 0);
        it.upgrade();
        let new = fetch(&it, user(1), "new", 100_000);
        it.release(&old);
        assert!(is_in_progress(&fetch_again(&it, user(1), "new", 100_000)));
        let own = ok(&url("new"));
        assert_eq!(it.finish(new), Ok(own.clone()));
        assert_eq!(fetch_again(&it, user(1), "new", 100_000), own);
    });
}

/// The trap is told from others, but the cleanup is not always: the request goes on, or ends there, with nobody else's answer.
///
/// Shows G15.
#[test]
fn nor_to_one_of_the_same_canister_that_waits_until_another_time() {
    with_canister(|it| {
        let caller = Canister::install(it.replica, TEST_CANISTER, ());
        let send = |path: &str| {
            let args = (it.canister.id(), path, 200u32);
            it.hold_at(&caller, user(1), "fetch_at", args)
        };
        // Both heaps have the endpoint's name from memory.
        let first = send("first");
        it.release(&first);
        begin_history(&it);
        let old = send("old");
        it.upgrade();
        it.wait(Duration::from_secs(2));
        let new = send("new");
        it.release(&old);
        let again = || {
            let arg = candid::encode_args((Some("new".as_bytes()), "new", 0u64));
            let arg = arg.expect("it encodes");
            let (reply, _) = caller.forward(it.canister.id(), "fetch", arg, 0);
            let reply = reply.expect("it answers");
            candid::decode_one::<Answer>(&reply).expect("it decodes")
        };
        let before = again();
        assert!(is_unknown(&before) || is_in_progress(&before), "{before:?}");
        it.release(&new);
        let after = again();
        let own = ok(&url("new"));
        assert!(
            is_unknown(&after) || is_in_progress(&before) && after == own,
            "{after:?}"
        );
    });
}
