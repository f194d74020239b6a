//! Mail from a canister, by the gateway, to a mail server.

mod world;

use crate::mail::world::{Gateway, Letter, SendMailError, State, Totals, World, operator};
use axum::{Router, routing::post};
use candid::Principal;
use idempotency_core::{
    IdempotencyError,
    outbox::{MessageId, Outcome, Reason},
};
use integration_tests::{
    MAIL,
    outside::{Odds, Plan},
    replica, user,
};
use mail_gateway::Policy;
use smtp_sink::Behaviour;
use std::time::Duration;

fn losing_answers() -> Plan {
    Plan {
        outcall: Odds {
            answer_lost: 1.0,
            ..Odds::default()
        },
        ..Plan::default()
    }
}

/// Thirteen replicas ask for it; answers are lost, the canister is upgraded, the mail server is late, and the gateway is killed. The client
/// loses its answer, too.
fn the_story(world: &mut World<'_>) {
    world.close_mail_server();
    let letter = Letter::new(1);
    world
        .canister
        .lose_answer(user(1), "send_mail", (letter.clone(),));
    for _ in 0..2 {
        world.step();
    }
    world.upgrade();
    let id = world.send(user(1), &letter).expect("it was taken");
    assert_eq!(world.state(user(1), id), State::Queued);

    // The mail is sent, and nobody learns of it.
    world.outside.set_plan(losing_answers());
    world.open_mail_server();
    world.run_until(|world| !world.mails().is_empty());
    world.step_and_upgrade();
    world.kill_gateway();
    for _ in 0..2 {
        world.step();
    }
    assert_eq!(world.state(user(1), id), State::Queued);
    world.open_gateway();
    world.step_and_upgrade();
    world.step();

    world.outside.set_plan(Plan {
        // Each node is told another date.
        told_apart: 1.0,
        ..Plan::default()
    });
    world.run();
    let mails = world.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    let mail = &mails[0];
    assert_eq!(
        (mail.header("subject"), mail.body()),
        (Some("Letter 1"), "Dear Ann,\r\n.\r\nBob\r\n")
    );
    let State::Sent { message_id, .. } = world.state(user(1), id) else {
        panic!("{:?}", world.mail(user(1), id))
    };
    assert_eq!(mail.header("message-id"), Some(&*message_id));
    assert_eq!(world.send(user(1), &letter), Ok(id));
    let (report, overview) = (world.outside.report(), world.overview());
    println!("{report}");
    assert!(report.sent >= 5 * 13 && report.answers_lost >= 3 * 13);
    let sent = Totals {
        sent: 1,
        ..Totals::default()
    };
    assert_eq!((overview.totals, overview.outbox.waiting), (sent, 0));
}

#[test]
fn one_mail_arrives_and_the_canister_knows() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::new(true), |_| {});
    the_story(&mut world);
}

#[test]
fn nine_of_thirteen_send_a_mail_and_one_does_not() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::new(true), |settings| {
        settings.quorum = Some((9, Duration::from_secs(10)));
    });
    the_story(&mut world);

    // Few alone get nothing sent, and count when the others come.
    let id = world.send(user(1), &Letter::new(2)).expect("it is taken");
    world.outside.set_plan(Plan {
        node: Odds {
            request_lost: 0.8,
            ..Odds::default()
        },
        ..Plan::default()
    });
    let before = world.outside.report().sent;
    world.step();
    let few = world.outside.report().sent - before;
    assert!((1..9).contains(&few), "{few}");
    assert_eq!(
        (world.state(user(1), id), world.mails().len()),
        (State::Queued, 1)
    );
    world.outside.set_plan(Plan::default());
    world.run();
    assert!(matches!(world.state(user(1), id), State::Sent { .. }));
    assert_eq!(world.mails().len(), 2);

    // From now on a single replica asks, each time another one. Nobody needs to wait long for the others.
    world.kill_gateway();
    world.settings.quorum = Some((9, Duration::from_millis(200)));
    world.open_gateway();
    let upgraded = world.canister.upgrade(MAIL, (Gateway::new(false),));
    upgraded.expect("it is a gateway");
    let id = world.send(user(1), &Letter::new(3)).expect("it is taken");
    world.run();
    let State::Unknown { reason, .. } = world.state(user(1), id) else {
        panic!("{:?}", world.mail(user(1), id))
    };
    assert!(
        reason.contains("(503)") && reason.contains("#too-few-copies"),
        "{reason}"
    );
    assert_eq!(world.mails().len(), 2);
}

#[test]
fn a_client_that_asks_again_sends_nothing_again() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::new(false), |_| {});
    let letter = Letter::new(1);
    let id = world.send(user(1), &letter).expect("it is taken");
    assert_eq!(world.send(user(1), &letter), Ok(id));
    world.upgrade();
    assert_eq!(world.send(user(1), &letter), Ok(id));
    world.run();
    let sent = world.state(user(1), id);
    assert!(matches!(sent, State::Sent { .. }), "{sent:?}");
    world.upgrade();
    assert_eq!(world.send(user(1), &letter), Ok(id));
    let other = Letter {
        to: "bob@example.org".to_owned(),
        ..letter.clone()
    };
    assert_eq!(
        world.send(user(1), &other),
        Err(SendMailError::Idempotency(IdempotencyError::KeyReused))
    );
    world.run();
    assert_eq!(world.state(user(1), id), sent);
    assert_eq!(world.mails().len(), 1);
    // Another one's id is another's, and so is another id.
    assert_ne!(world.send(user(2), &letter), Ok(id));
    assert!(world.send(user(1), &Letter::new(2)).is_ok());
    world.run();
    assert_eq!(world.mails().len(), 3);
}

#[test]
fn a_mail_waits_for_the_mail_server() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::new(false), |_| {});
    world.close_mail_server();
    let id = world.send(user(1), &Letter::new(1)).expect("it is taken");
    for _ in 0..5 {
        world.step();
        assert_eq!(world.state(user(1), id), State::Queued);
    }
    world.open_mail_server();
    world.behave(Behaviour::RefuseRecipient(451));
    for _ in 0..5 {
        world.step();
    }
    assert_eq!(
        (world.state(user(1), id), world.mails().len()),
        (State::Queued, 0)
    );
    world.behave(Behaviour::Accept);
    world.run();
    assert!(matches!(world.state(user(1), id), State::Sent { .. }));
    assert_eq!(world.mails().len(), 1);
}

#[test]
fn a_refused_address_fails_with_the_reason_and_is_told_once() {
    let replica = replica();
    for (is_replicated, says) in [(false, "550"), (true, "refused the request (400)")] {
        let mut world = World::new(&replica, Gateway::new(is_replicated), |_| {});
        world.behave(Behaviour::RefuseRecipient(550));
        let id = world.send(user(1), &Letter::new(1)).expect("it is taken");
        world.run();
        let failed = world.state(user(1), id);
        assert!(
            matches!(&failed, State::Failed { reason, .. } if reason.contains(says)),
            "{failed:?}"
        );
        world.upgrade();
        world.run();
        let once = Totals {
            failed: 1,
            ..Totals::default()
        };
        assert_eq!(world.overview().totals, once);

        // The gateway remembers that it was refused.
        let letters = world.dead_letters();
        assert!(
            matches!(
                &letters[..],
                [ended] if ended.id == id
                    && matches!(ended.outcome, Outcome::Dead { reason: Reason::Refused, .. })
            ),
            "{letters:?}"
        );
        world.behave(Behaviour::Accept);
        assert!(world.operate("resend", id));
        assert!(!world.operate("resend", id), "it is on its way");
        assert_eq!(world.state(user(1), id), State::Queued);
        world.run();
        assert!(matches!(world.state(user(1), id), State::Failed { .. }));
        assert_eq!(world.overview().totals.failed, 2);

        assert!(world.operate("dismiss", id));
        assert!(!world.operate("dismiss", id), "it is none any more");
        assert!(!world.operate("resend", id), "it is none any more");
        assert!(world.dead_letters().is_empty() && world.mails().is_empty());
        assert!(matches!(world.state(user(1), id), State::Failed { .. }));
    }
}

#[test]
fn what_the_mail_server_may_have_taken_is_unknown_and_not_sent_again() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::new(false), |_| {});
    world.behave(Behaviour::CloseAfterMail);
    let id = world.send(user(1), &Letter::new(1)).expect("it is taken");
    world.run_until(|world| !world.mails().is_empty());
    world.behave(Behaviour::Accept);
    world.run();
    let unknown = world.state(user(1), id);
    assert!(
        matches!(&unknown, State::Unknown { reason, .. } if reason.contains("#outcome-unknown")),
        "{unknown:?}"
    );
    assert!(world.operate("resend", id));
    world.run();
    assert!(matches!(world.state(user(1), id), State::Unknown { .. }));
    assert_eq!(
        (world.mails().len(), world.overview().totals.unknown),
        (1, 2)
    );
}

#[test]
fn a_gateway_that_sends_at_least_once_sends_it_again_with_the_same_message_id() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::new(true), |settings| {
        settings.policy = Policy::AtLeastOnce;
    });
    world.behave(Behaviour::CloseAfterMail);
    let id = world.send(user(1), &Letter::new(1)).expect("it is taken");
    world.run_until(|world| !world.mails().is_empty());
    world.behave(Behaviour::Accept);
    world.run();
    let State::Sent { message_id, .. } = world.state(user(1), id) else {
        panic!("{:?}", world.mail(user(1), id))
    };
    let mails = world.mails();
    let ids: Vec<_> = mails.iter().map(|mail| mail.header("message-id")).collect();
    assert_eq!(ids, [Some(&*message_id); 2]);
}

#[test]
fn anybodys_200_is_no_mail() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::new(false), |_| {});
    world.replace_gateway(Router::new().route("/send", post(async || "welcome")));
    let id = world.send(user(1), &Letter::new(1)).expect("it is taken");
    world.run();
    let unknown = world.state(user(1), id);
    assert!(
        matches!(&unknown, State::Unknown { reason, .. } if reason.contains("no message_id")),
        "{unknown:?}"
    );
}

#[test]
fn a_caller_has_its_share_of_the_outbox() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::new(false), |_| {});
    let ids: Vec<MessageId> = (0..20)
        .map(|number| world.send(user(1), &Letter::new(number)))
        .collect::<Result<_, _>>()
        .expect("twenty are taken");
    let one_more = Letter::new(20);
    for _ in 0..2 {
        assert_eq!(
            world.send(user(1), &one_more),
            Err(SendMailError::TooManyQueued)
        );
    }
    world.upgrade();
    assert_eq!(
        world.send(user(1), &one_more),
        Err(SendMailError::TooManyQueued)
    );
    let others = world
        .send(user(2), &one_more)
        .expect("it has its own share");
    // Retries are answered all the same.
    assert_eq!(world.send(user(1), &Letter::new(7)), Ok(ids[7]));
    assert_eq!(world.overview().outbox.waiting, 21);

    world.run();
    let sent = |id: &MessageId| matches!(world.state(user(1), *id), State::Sent { .. });
    assert!(ids.iter().all(sent));
    assert!(matches!(world.state(user(2), others), State::Sent { .. }));
    assert!(world.send(user(1), &one_more).is_ok());
    world.run();
    assert_eq!(world.mails().len(), 22);
    let numbers: std::collections::BTreeSet<_> = world
        .mails()
        .iter()
        .map(|mail| mail.header("message-id").map(str::to_owned))
        .collect();
    assert_eq!(numbers.len(), 22);
}

#[test]
fn strangers_see_nothing_and_do_nothing() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::new(false), |_| {});
    world.behave(Behaviour::RefuseMail(554));
    let id = world.send(user(1), &Letter::new(1)).expect("it is taken");
    world.run();
    assert!(world.mail(user(1), id).is_some());
    for stranger in [user(2), operator(), world.canister.id()] {
        assert_eq!(world.mail(stranger, id), None);
    }
    let none = MessageId::from_u64(id.as_u64() + 1);
    assert_eq!(world.mail(user(1), none), None);

    let canister = world.canister;
    for one in [user(1), user(2)] {
        for method in ["resend", "dismiss"] {
            let answer = canister.update::<Result<bool, IdempotencyError>>(one, method, (id,));
            assert!(answer.is_err(), "{answer:?}");
        }
        let nothing = || candid::encode_args(()).expect("it encodes");
        for method in ["dead_letters", "overview"] {
            assert!(canister.query_raw(one, method, ()).is_err());
            // As an update, too.
            assert!(canister.update_raw(one, method, nothing()).is_err());
        }
    }
    assert_eq!(world.dead_letters().len(), 1);
    assert!(matches!(world.state(user(1), id), State::Failed { .. }));
}

#[test]
fn what_is_no_mail_is_refused_and_nothing_is_kept() {
    let replica = replica();
    let world = World::new(&replica, Gateway::new(false), |_| {});
    let with = |change: fn(&mut Letter)| {
        let mut letter = Letter::new(1);
        change(&mut letter);
        letter
    };
    for letter in [
        with(|letter| letter.to.clear()),
        with(|letter| letter.to = "ann@example.org, bob@example.org".to_owned()),
        with(|letter| letter.to.push_str("\r\nBcc: bob@example.org")),
        with(|letter| letter.subject.push_str("\r\nBcc: bob@example.org")),
        with(|letter| letter.subject = "s".repeat(251)),
        with(|letter| letter.body = "b".repeat(100_001)),
    ] {
        let refused = world.send(user(1), &letter);
        assert!(
            matches!(refused, Err(SendMailError::Invalid { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(
        world.send(Principal::anonymous(), &Letter::new(1)),
        Err(SendMailError::Idempotency(
            IdempotencyError::AnonymousRefused
        ))
    );
    let overview = world.overview().outbox;
    assert_eq!((overview.messages, overview.bytes), (0, 0));
    // The id is not used up. And the longest one is taken.
    let longest = with(|letter| letter.body = "\0".repeat(100_000));
    let id = world.send(user(1), &longest).expect("it is taken");
    assert_eq!(world.state(user(1), id), State::Queued);
}

#[test]
fn what_is_no_gateway_is_refused_and_another_one_is_used_by_later_mails() {
    let replica = replica();
    let mut world = World::new(&replica, Gateway::with_token("another"), |_| {});
    for gateway in [
        Gateway::at("http://gateway.example/send"),
        Gateway::at(""),
        Gateway::with_token(""),
        Gateway::with_token("a\r\nb: c"),
    ] {
        assert!(world.canister.upgrade(MAIL, (gateway,)).is_err());
    }
    let strange = world.send(user(1), &Letter::new(1)).expect("it is taken");
    let upgraded = world.canister.upgrade(MAIL, (Gateway::new(false),));
    upgraded.expect("it is a gateway");
    let known = world.send(user(1), &Letter::new(2)).expect("it is taken");
    world.run();
    let failed = world.state(user(1), strange);
    assert!(
        matches!(&failed, State::Failed { reason, .. } if reason.contains("token is missing or wrong")),
        "{failed:?}"
    );
    assert!(matches!(world.state(user(1), known), State::Sent { .. }));
    assert_eq!(world.mails().len(), 1);
}
