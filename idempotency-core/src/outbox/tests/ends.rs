//! How messages end, one rule after the other.

use super::{
    super::{Limit, Outcome, Policy, Reason, Request, SendError, Status},
    world::{World, answer, rejected, response, timed_out, with_header},
};
use std::time::Duration;

const URL: &str = "https://shop.example/orders";

fn post() -> Request {
    Request::post(URL).body("order").max_response_bytes(1_000)
}

fn world() -> World {
    World::new(Policy::new(), true)
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn what_is_acknowledged_is_told_once() {
    let world = world();
    let id = world.send(post().about("mine")).unwrap();
    assert_eq!(
        world.under_way(),
        0,
        "nothing goes out in the message that sends it"
    );
    world.pass(Duration::ZERO);
    assert_eq!(world.under_way(), 1);
    assert!(matches!(
        world.status(id),
        Some(Status::UnderWay { attempts: 1 })
    ));
    world.answer(0, answer(201, "created"));
    let ended = world.ended(id).unwrap();
    assert_eq!(
        ended.outcome,
        Outcome::Acknowledged(response(201, "created"))
    );
    assert_eq!(
        (ended.about.as_slice(), ended.attempts),
        (b"mine".as_slice(), 1)
    );
    world.pass(SECOND);
    assert_eq!(World::told(), [ended]);
    world.pass(60 * MINUTE);
    assert_eq!(World::told(), []);
    assert_eq!((world.timers(), world.dead_letters()), (0, vec![]));
}

#[test]
fn all_attempts_have_one_key() {
    let mut world = world();
    let id = world.send(post()).unwrap();
    world
        .send(Request::post("https://other.example/").body("x"))
        .unwrap();
    let mut keys = vec![];
    for upgraded in [false, true, false] {
        world.pass_until_sent();
        let key = world.outcalls(|outcall| {
            let is_ours = outcall.request.url == URL;
            is_ours.then(|| outcall.header("Idempotency-Key").unwrap().to_owned())
        });
        keys.extend(key.into_iter().flatten());
        match upgraded {
            true => {
                world.upgrade();
            }
            false => {
                while world.under_way() > 0 {
                    world.answer(0, timed_out());
                }
            }
        }
    }
    assert!(keys.len() >= 3, "{keys:?}");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(matches!(
        world.status(id),
        Some(Status::Waiting {
            is_in_doubt: true,
            ..
        })
    ));
}

#[test]
fn a_refusal_is_final() {
    for status in [400, 404, 422] {
        let world = world();
        let id = world.send(post()).unwrap();
        world.pass(SECOND);
        world.answer(0, answer(status, "no"));
        world.pass(60 * MINUTE);
        let outcome = world.ended(id).unwrap().outcome;
        let Outcome::Dead {
            reason,
            limit,
            answer,
        } = outcome
        else {
            panic!("{status}: {outcome:?}")
        };
        assert_eq!((reason, limit), (Reason::Refused, None));
        assert_eq!(answer, Some(response(status, "no")));
        assert_eq!(world.dead_letters(), [id]);
        assert_eq!(World::told().len(), 1);
    }
}

#[test]
fn a_refusal_after_what_may_have_been_executed_proves_nothing() {
    let world = world();
    let id = world.send(post()).unwrap();
    world.pass(SECOND);
    world.answer(0, timed_out());
    world.pass(MINUTE);
    world.answer(0, answer(400, "duplicate"));
    let outcome = world.ended(id).unwrap().outcome;
    assert!(
        matches!(
            outcome,
            Outcome::Unknown {
                reason: Reason::Refused,
                ..
            }
        ),
        "{outcome:?}"
    );
}

#[test]
fn a_redirection_may_follow_what_was_done() {
    let world = world();
    let id = world.send(post()).unwrap();
    world.pass(SECOND);
    world.answer(0, answer(303, ""));
    let outcome = world.ended(id).unwrap().outcome;
    assert!(
        matches!(
            outcome,
            Outcome::Unknown {
                reason: Reason::Refused,
                ..
            }
        ),
        "{outcome:?}"
    );
}

#[test]
fn without_a_key_what_may_have_been_executed_is_not_repeated() {
    for lost in [
        timed_out(),
        answer(500, ""),
        answer(429, ""),
        rejected(6, "unknown"),
        rejected(1, "Http body exceeds size limit of 1000 bytes."),
    ] {
        let world = world();
        let id = world.send(post().without_idempotency_key()).unwrap();
        world.pass(SECOND);
        world.answer(0, lost);
        world.pass(60 * MINUTE);
        assert_eq!(world.under_way(), 0);
        let outcome = world.ended(id).unwrap().outcome;
        assert!(
            matches!(
                outcome,
                Outcome::Unknown {
                    limit: Some(Limit::NotRepeatable),
                    ..
                }
            ),
            "{outcome:?}"
        );
        assert_eq!(world.dead_letters(), [id]);
    }
}

#[test]
fn what_was_certainly_not_sent_is_repeated_at_once_without_a_key() {
    let world = world();
    let id = world.send(post().without_idempotency_key()).unwrap();
    world.pass(SECOND);
    world.answer(0, rejected(0, "the queue is full"));
    world.pass(SECOND);
    assert_eq!(world.under_way(), 1);
    world.answer(0, rejected(0, "the queue is full"));
    world.pass(Duration::from_millis(500));
    assert_eq!(world.under_way(), 0, "not for ever at once");
    world.pass(MINUTE);
    world.answer(0, answer(200, ""));
    assert_eq!(world.ended(id).unwrap().attempts, 3);
}

#[test]
fn get_and_head_are_repeated_without_a_key() {
    for request in [Request::get(URL), Request::head(URL)] {
        let world = world();
        let id = world.send(request).unwrap();
        world.pass(SECOND);
        assert_eq!(
            world.outcalls(|outcall| outcall.header("Idempotency-Key").is_some()),
            [false]
        );
        world.answer(0, answer(503, ""));
        world.pass(MINUTE);
        world.answer(0, answer(200, ""));
        assert!(matches!(
            world.ended(id).unwrap().outcome,
            Outcome::Acknowledged(_)
        ));
    }
}

#[test]
fn a_server_is_given_the_time_that_it_asks_for() {
    let world = world();
    let id = world.send(post()).unwrap();
    world.pass(SECOND);
    world.answer(0, with_header(429, "", Some(("Retry-After", "90"))));
    world.pass(89 * SECOND);
    assert_eq!(world.under_way(), 0);
    world.pass(2 * SECOND);
    assert_eq!(world.under_way(), 1);
    world.answer(0, answer(200, ""));
    assert!(world.ended(id).is_some());
}

#[test]
fn attempts_come_to_an_end() {
    for (lost, is_unknown) in [(timed_out(), true), (rejected(0, "full"), false)] {
        let world = world();
        let id = world.send(post().max_attempts(4)).unwrap();
        for _ in 0..4 {
            world.pass(MINUTE);
            world.answer(0, lost.clone());
        }
        let ended = world.ended(id).unwrap();
        assert_eq!(ended.attempts, 4);
        match ended.outcome {
            Outcome::Unknown { limit, .. } if is_unknown => {
                assert_eq!(limit, Some(Limit::Attempts))
            }
            Outcome::Dead { limit, .. } if !is_unknown => assert_eq!(limit, Some(Limit::Attempts)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn time_comes_to_an_end() {
    let world = world();
    let id = world
        .send(post().max_age(10 * MINUTE).max_attempts(1_000))
        .unwrap();
    let mut attempts = 0;
    for _ in 0..1_200 {
        world.pass(SECOND);
        if world.under_way() > 0 {
            world.answer(0, timed_out());
            attempts += 1;
        }
    }
    let ended = world.ended(id).unwrap();
    assert_eq!(ended.attempts, attempts);
    assert!(matches!(
        ended.outcome,
        Outcome::Unknown {
            limit: Some(Limit::Age),
            ..
        }
    ));
    // It does not wait for its last second when nothing would be done then.
    assert!(ended.ended_at < ended.created_at.plus(10 * MINUTE));
}

/// A message behind another one in its lane is not sent after its time.
#[test]
fn what_waits_too_long_in_its_lane_was_not_sent() {
    let world = world();
    let first = world.send(post().lane("a").max_age(20 * MINUTE)).unwrap();
    let second = world.send(post().lane("a").max_age(MINUTE)).unwrap();
    world.pass(SECOND);
    while world.ended(first).is_none() {
        if world.under_way() > 0 {
            world.answer(0, timed_out());
        }
        world.pass(MINUTE);
    }
    world.pass(SECOND);
    let ended = world.ended(second).unwrap();
    assert_eq!(ended.attempts, 0);
    assert!(
        matches!(
            ended.outcome,
            Outcome::Dead {
                reason: Reason::NotSent { .. },
                limit: Some(Limit::Age),
                answer: None
            }
        ),
        "{:?}",
        ended.outcome
    );
}

mod verify {
    use super::*;

    fn unkeyed() -> Request {
        let question = Request::get("https://shop.example/orders/7").max_response_bytes(100);
        post().without_idempotency_key().verify(question)
    }

    #[test]
    fn the_server_is_asked_before_anything_is_repeated() {
        let world = world();
        let id = world.send(unkeyed()).unwrap();
        world.pass(SECOND);
        world.answer(0, timed_out());
        world.pass(59 * SECOND);
        assert_eq!(world.under_way(), 0, "the server may still act");
        world.pass(5 * SECOND);
        assert_eq!(world.outcalls(|it| it.is_question()), [true]);
        world.answer(0, answer(404, "not there"));
        world.pass(SECOND);
        assert_eq!(
            world.outcalls(|it| it.is_question()),
            [false],
            "so it is sent again"
        );
        world.answer(0, answer(500, ""));
        world.pass(2 * MINUTE);
        assert_eq!(world.outcalls(|it| it.is_question()), [true]);
        world.answer(0, answer(200, "there"));
        world.pass(SECOND);
        let ended = world.ended(id).unwrap();
        assert_eq!(ended.outcome, Outcome::Acknowledged(response(200, "there")));
        assert_eq!(ended.attempts, 2);
    }

    #[test]
    fn who_does_not_say_is_asked_again() {
        let world = world();
        let id = world.send(unkeyed().max_attempts(3)).unwrap();
        world.pass(SECOND);
        world.answer(0, timed_out());
        for question in [answer(200, "?"), timed_out(), answer(503, "there")] {
            world.pass_until_sent();
            assert_eq!(world.outcalls(|it| it.is_question()), [true]);
            world.answer(0, question);
        }
        world.pass(60 * MINUTE);
        let outcome = world.ended(id).unwrap().outcome;
        assert!(
            matches!(
                outcome,
                Outcome::Unknown {
                    limit: Some(Limit::Attempts),
                    ..
                }
            ),
            "{outcome:?}"
        );
    }

    #[test]
    fn a_refusal_in_doubt_is_asked_about() {
        let world = world();
        let keyed = post().verify(Request::get("https://shop.example/orders/7"));
        let id = world.send(keyed).unwrap();
        world.pass(SECOND);
        world.answer(0, timed_out());
        world.pass(2 * MINUTE);
        world.answer(0, answer(404, "not there"));
        world.pass(SECOND);
        world.answer(0, answer(400, "no"));
        let outcome = world.ended(id).unwrap().outcome;
        assert!(
            matches!(
                outcome,
                Outcome::Dead {
                    reason: Reason::Refused,
                    ..
                }
            ),
            "{outcome:?}"
        );
    }

    #[test]
    fn an_upgrade_while_the_server_is_asked() {
        let mut world = world();
        let id = world.send(unkeyed()).unwrap();
        world.pass(SECOND);
        world.answer(0, timed_out());
        world.pass(2 * MINUTE);
        assert_eq!(world.upgrade().len(), 1);
        world.pass(5 * MINUTE);
        assert_eq!(world.outcalls(|it| it.is_question()), [true]);
        world.answer(0, answer(200, "there"));
        world.pass(SECOND);
        assert!(matches!(
            world.ended(id).unwrap().outcome,
            Outcome::Acknowledged(_)
        ));
    }

    #[test]
    fn an_outbox_that_cannot_ask_does_not_take_it() {
        let world = world();
        world.without_verifier();
        assert_eq!(world.send(unkeyed()), Err(SendError::NoVerifier));
        assert_eq!(world.held(), 0);
    }
}

#[test]
fn what_an_upgrade_cuts_off_may_have_been_executed() {
    for (request, is_repeated) in [(post(), true), (post().without_idempotency_key(), false)] {
        let mut world = world();
        let id = world.send(request).unwrap();
        world.pass(SECOND);
        assert_eq!(world.upgrade().len(), 1);
        world.pass(80 * SECOND);
        assert_eq!(world.under_way(), 0, "the outcall may still be under way");
        world.pass(MINUTE);
        assert_eq!(world.under_way(), usize::from(is_repeated));
        if !is_repeated {
            let outcome = world.ended(id).unwrap().outcome;
            assert!(
                matches!(
                    outcome,
                    Outcome::Unknown {
                        reason: Reason::Interrupted,
                        ..
                    }
                ),
                "{outcome:?}"
            );
        }
    }
}

#[test]
fn an_answer_comes_to_the_heap_after_an_upgrade() {
    let mut world = world();
    let ids = [post(), post().without_idempotency_key(), post()].map(|it| world.send(it).unwrap());
    world.pass(SECOND);
    world.upgrade_in_flight();
    world.upgrade_in_flight();
    for (status, id) in [(200, ids[0]), (400, ids[1])] {
        world.answer(0, answer(status, ""));
        assert_eq!(world.ended(id).unwrap().attempts, 1);
    }
    // The third is answered when it counts as interrupted.
    world.lose(0);
    world.pass(2 * MINUTE);
    assert_eq!(world.under_way(), 1);
    world.answer(0, answer(200, ""));
    assert_eq!(world.ended(ids[2]).unwrap().attempts, 2);
}

#[test]
fn an_answer_that_was_lost_in_a_trap_is_given_up() {
    let world = world();
    let id = world.send(post()).unwrap();
    world.pass(SECOND);
    world.lose(0);
    world.pass(4 * MINUTE);
    assert_eq!(world.under_way(), 0);
    world.pass(2 * MINUTE);
    world.answer(0, answer(200, ""));
    assert_eq!(world.ended(id).unwrap().attempts, 2);
}

#[test]
fn a_dead_letter_is_kept_until_it_is_dismissed_or_sent_again() {
    // Nobody is told.
    let mut world = World::new(Policy::new().retention(MINUTE).max_age(MINUTE), false);
    let ids = [(); 2].map(|()| world.send(post()).unwrap());
    world.pass(SECOND);
    for _ in ids {
        world.answer(0, answer(400, "no"));
    }
    for _ in 0..50 {
        world.pass(10 * MINUTE);
        let other = world.send(post()).unwrap();
        world.pass(SECOND);
        world.answer(0, answer(200, ""));
        assert!(world.ended(other).is_some());
        world.upgrade();
        assert_eq!(world.dead_letters(), ids);
    }
    assert!(world.held() < 10, "what was acknowledged is forgotten");
    assert!(world.dismiss(ids[0]));
    assert_eq!(
        (world.dismiss(ids[0]), world.resend(ids[0])),
        (false, false)
    );
    assert_eq!(world.dead_letters(), [ids[1]]);
    assert!(world.resend(ids[1]));
    assert_eq!(world.dead_letters(), []);
    world.pass(SECOND);
    world.answer(0, answer(200, "yes"));
    assert_eq!(
        world.ended(ids[1]).unwrap().outcome,
        Outcome::Acknowledged(response(200, "yes"))
    );
    assert!(!world.resend(ids[1]));
}

#[test]
fn an_end_that_was_not_told_is_told_after_an_upgrade() {
    let mut world = world();
    let id = world.send(post()).unwrap();
    world.pass(SECOND);
    world.answer(0, answer(200, ""));
    // The function is gone, and comes back.
    world.upgrade_to(Policy::new(), false);
    world.pass(60 * MINUTE);
    assert_eq!(World::told(), []);
    world.upgrade_to(Policy::new(), true);
    world.pass(60 * MINUTE);
    assert_eq!(
        World::told()
            .iter()
            .map(|ended| ended.id)
            .collect::<Vec<_>>(),
        [id]
    );
    world.upgrade();
    world.pass(60 * MINUTE);
    assert_eq!(World::told(), []);
}
