//! What an upgrade leaves: everything, and calls in flight unknown.

use crate::common::{
    Answer, Fixture, HOUR, Plan, Refusal, is_in_progress, is_unknown, ok, refused, with_canister,
};
use candid::Principal;
use integration_tests::{Canister, Sent, TEST_CANISTER, user};
use pocket_ic::common::rest::{CanisterHttpReply, CanisterHttpResponse, MockCanisterHttpResponse};
use std::time::Duration;

#[test]
fn records_survive_any_number_of_upgrades() {
    with_canister(|it| {
        assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
        for upgrade in 1..=3 {
            it.canister
                .upgrade(TEST_CANISTER, ())
                .expect("the upgrade succeeds");
            assert_eq!(it.say("say", b"key", "hello"), ok("1: hello"));
            assert_eq!(it.say("say", b"key", "other"), refused(Refusal::KeyReused));
            assert_eq!(it.stats().0.incarnation, 1 + upgrade);
        }
        assert_eq!(it.executions("say"), 1);
    });
}

#[test]
fn a_call_in_flight_is_unknown_at_once_and_for_good() {
    with_canister(|it| {
        let args = (b"key".to_vec(), Plan::Hold);
        let sent = it
            .canister
            .send(user(1), "work", args)
            .expect("it is accepted");
        it.run_until_held();
        it.canister
            .upgrade(TEST_CANISTER, ())
            .expect("the upgrade succeeds");
        let again = it.work("work", b"key", Plan::Hold).expect("it answers");
        assert!(is_unknown(&again), "{again:?}");

        // The answer of the outcall arrives in a heap that knows nothing of it.
        it.answer_outcall();
        it.canister
            .answer::<Answer>(sent)
            .expect_err("nobody is left to answer");
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

#[test]
fn opening_the_stores_costs_the_same_however_full_they_are() {
    with_canister(|it| {
        let cost = || {
            it.canister
                .upgrade(TEST_CANISTER, ())
                .expect("the upgrade succeeds");
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
        it.canister
            .upgrade(TEST_CANISTER, ())
            .expect("the upgrade succeeds");
        it.wait(HOUR * 2);
        it.run_timers();
        assert_eq!(it.stats().0.entries, 0);
    });
}

/// Sends a `fetch` and waits until it awaits its outcall.
fn fetch(it: &Fixture<'_>, caller: Principal, path: &str, number: u64) -> Sent {
    let args = (Some(path.as_bytes()), path, number);
    let sent = it.canister.send(caller, "fetch", args);
    wait_for_outcall(it, path);
    sent.expect("it is accepted")
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

fn wait_for_outcall(it: &Fixture<'_>, path: &str) {
    let url = url(path);
    let is_pending = || {
        it.replica
            .get_canister_http()
            .iter()
            .any(|it| it.url == url)
    };
    for _ in 0..20 {
        if is_pending() {
            return;
        }
        it.replica.tick();
    }
    panic!("no outcall to {url} came");
}

/// Answers an outcall with its own URL, and lets that arrive.
fn answer_outcall(it: &Fixture<'_>, path: &str) {
    let url = url(path);
    let mut pending = it.replica.get_canister_http().into_iter();
    let request = pending.find(|request| request.url == url);
    let request = request.expect("the outcall is pending");
    it.replica
        .mock_canister_http_response(MockCanisterHttpResponse {
            subnet_id: request.subnet_id,
            request_id: request.request_id,
            response: CanisterHttpResponse::CanisterHttpReply(CanisterHttpReply {
                status: 200,
                headers: vec![],
                body: url.into_bytes(),
            }),
            additional_responses: vec![],
        });
    for _ in 0..5 {
        it.replica.tick();
    }
}

fn upgrade(it: &Fixture<'_>) {
    it.canister
        .upgrade(TEST_CANISTER, ())
        .expect("the upgrade succeeds");
}

/// Two heaps of one history have what awaits an answer at the same addresses. Here is the beginning of the first.
fn begin_history(it: &Fixture<'_>) {
    it.say("say", b"the store is not empty", "hi")
        .expect("it runs");
    upgrade(it);
}

#[test]
fn an_answer_from_before_an_upgrade_is_not_given_to_another_callers_request() {
    with_canister(|it| {
        begin_history(&it);
        let old = fetch(&it, user(1), "old", 0);
        upgrade(&it);
        let new = fetch(&it, user(2), "new", 0);
        answer_outcall(&it, "old");
        assert!(is_in_progress(&fetch_again(&it, user(2), "new", 0)));
        let told = it.canister.answer_so_far::<Answer>(&old);
        told.expect("it ends").expect_err("its heap is gone");
        assert!(is_unknown(&fetch_again(&it, user(1), "old", 0)));

        answer_outcall(&it, "new");
        let own = ok(&url("new"));
        assert_eq!(it.canister.answer(new), Ok(own.clone()));
        assert_eq!(fetch_again(&it, user(2), "new", 0), own);
        assert_eq!(it.executions("fetch"), 2);
    });
}

#[test]
fn all_requests_after_an_upgrade_get_their_own_answers() {
    with_canister(|it| {
        begin_history(&it);
        let path = |when: &str, number: u8| format!("{when}{number}");
        for number in 0..8 {
            fetch(&it, user(1), &path("old", number), 0);
        }
        upgrade(&it);
        let send = |number: u8| fetch(&it, user(2), &path("new", number), 0);
        let mut sent: Vec<Sent> = (0..20).map(send).collect();
        for number in 0..8 {
            answer_outcall(&it, &path("old", number));
            // Takes the place of one that was done away with, if there is such a place.
            sent.push(send(20 + number));
        }
        for (number, sent) in (0..).zip(sent) {
            let path = path("new", number);
            answer_outcall(&it, &path);
            let own = ok(&url(&path));
            let told = it.canister.answer_so_far::<Answer>(&sent);
            assert_eq!(told, Some(Ok(own.clone())), "{path}");
            assert_eq!(fetch_again(&it, user(2), &path, 0), own);
        }
    });
}

#[test]
fn nor_is_it_given_to_a_request_without_a_key() {
    with_canister(|it| {
        let none = None::<Vec<u8>>;
        let send = |caller, path: &str| {
            let sent = it.canister.send(caller, "fetch", (&none, path, 0u64));
            wait_for_outcall(&it, path);
            sent.expect("it is accepted")
        };
        begin_history(&it);
        let old = send(user(1), "old");
        upgrade(&it);
        let new = send(user(2), "new");
        answer_outcall(&it, "old");
        let told = it.canister.answer_so_far::<Answer>(&old);
        told.expect("it ends").expect_err("its heap is gone");
        answer_outcall(&it, "new");
        assert_eq!(it.canister.answer(new), Ok(ok(&url("new"))));
    });
}

#[test]
fn nor_to_one_of_the_same_caller_that_has_done_more() {
    with_canister(|it| {
        begin_history(&it);
        fetch(&it, user(1), "old", 0);
        upgrade(&it);
        let new = fetch(&it, user(1), "new", 100_000);
        answer_outcall(&it, "old");
        assert!(is_in_progress(&fetch_again(&it, user(1), "new", 100_000)));
        answer_outcall(&it, "new");
        let own = ok(&url("new"));
        assert_eq!(it.canister.answer(new), Ok(own.clone()));
        assert_eq!(fetch_again(&it, user(1), "new", 100_000), own);
    });
}

/// The trap is told from others, but the cleanup is not: the request ends there, with nobody else's answer.
#[test]
fn nor_to_one_of_the_same_canister_that_waits_until_another_time() {
    with_canister(|it| {
        let caller = Canister::install(it.replica, TEST_CANISTER, ());
        let send = |path: &str| {
            let args = (it.canister.id(), path, 200u32);
            let sent = caller.send(user(1), "fetch_at", args);
            wait_for_outcall(&it, path);
            sent.expect("it is accepted")
        };
        begin_history(&it);
        send("old");
        upgrade(&it);
        it.wait(Duration::from_secs(2));
        send("new");
        answer_outcall(&it, "old");
        let again = || {
            let arg = candid::encode_args((Some("new".as_bytes()), "new", 0u64));
            let arg = arg.expect("it encodes");
            let (reply, _) = caller.forward(it.canister.id(), "fetch", arg, 0);
            let reply = reply.expect("it answers");
            candid::decode_one::<Answer>(&reply).expect("it decodes")
        };
        assert!(is_unknown(&again()));
        answer_outcall(&it, "new");
        assert!(is_unknown(&again()));
    });
}
