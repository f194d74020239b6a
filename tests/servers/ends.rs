//! How messages end that a canister sends to real servers.

use crate::outbox::{Sender, Settings, Spec, is_acknowledged};
use crate::shop::{Manners, Premises};
use idempotency_core::outbox::{Limit, Outcome, Reason, Status};
use integration_tests::outside::{Odds, Outside, Plan, Window};
use integration_tests::{OUTBOX_CANISTER, replica, user};
use serde_bytes::ByteBuf;
use std::time::Duration;

const KEYED: &str = "https://shop.example/keyed/7";
const PLAIN: &str = "https://shop.example/plain/7";

fn losing_answers() -> Plan {
    Plan {
        outcall: Odds {
            answer_lost: 1.0,
            ..Odds::default()
        },
        ..Plan::default()
    }
}

/// The world around a shop, in which this goes wrong.
fn outside(shop: &crate::shop::Open, plan: Plan) -> Outside {
    let mut outside = Outside::new(1, [("shop.example", shop.address)]);
    outside.set_patience(Duration::from_millis(500));
    outside.set_plan(plan);
    outside
}

/// At first all answers are lost, then all is well.
fn losing_answers_at_first() -> Plan {
    Plan {
        windows: vec![Window {
            steps: 0..3,
            authority: None,
            odds: losing_answers().outcall,
        }],
        ..Plan::default()
    }
}

#[test]
fn thirteen_requests_are_one_order_and_one_acknowledgement() {
    let premises = Premises::new(Manners::default());
    let shop = premises.open();
    let replica = replica();
    let plan = Plan {
        // Each node is told another date.
        told_apart: 1.0,
        ..Plan::default()
    };
    let outside = outside(&shop, plan);
    let mut sender = Sender::install(&replica, Settings::default(), outside);
    let id = sender.send_one(Spec::post(KEYED).replicated());
    assert!(matches!(
        sender.status(id),
        Some(Status::Waiting { attempts: 0, .. })
    ));
    sender.run();
    let ended = sender.ended(id);
    let Outcome::Acknowledged(answer) = &ended.outcome else {
        panic!("{ended:?}")
    };
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, b"ordered 7".as_slice())
    );
    assert_eq!(sender.outside.report().sent, 13);
    assert_eq!(premises.keyed_orders().get(&7), Some(&1));
    assert_eq!(sender.told().get(&id.as_u64()), Some(&1));
    shop.kill();
}

#[test]
fn a_lost_answer_is_asked_for_with_the_same_key() {
    let premises = Premises::new(Manners::default());
    let shop = premises.open();
    let replica = replica();
    let outside = outside(&shop, losing_answers());
    let mut sender = Sender::install(&replica, Settings::default(), outside);
    let ids = [
        Spec::post(KEYED),
        Spec::post("https://shop.example/keyed/8").replicated(),
    ]
    .map(|spec| sender.send_one(spec));
    for _ in 0..20 {
        sender.step();
    }
    sender.upgrade();
    for _ in 0..60 {
        sender.step();
    }
    sender.outside.set_plan(Plan::default());
    sender.run();
    for (id, number) in ids.into_iter().zip([7, 8]) {
        let ended = sender.ended(id);
        assert!(is_acknowledged(&ended) && ended.attempts > 2, "{ended:?}");
        assert_eq!(premises.keyed_orders().get(&number), Some(&1));
    }
    shop.kill();
}

#[test]
fn a_server_without_keys_is_asked_or_left_alone() {
    let premises = Premises::new(Manners::default());
    let shop = premises.open();
    let replica = replica();
    let outside = outside(&shop, losing_answers_at_first());
    let mut sender = Sender::install(&replica, Settings::default(), outside);
    let asked = sender.send_one(Spec::post(PLAIN).without_key().verify(PLAIN));
    let other = "https://shop.example/plain/8";
    let neither = sender.send_one(Spec::post(other).without_key());
    sender.run();
    assert!(is_acknowledged(&sender.ended(asked)));
    let ended = sender.ended(neither);
    assert!(
        matches!(
            ended.outcome,
            Outcome::Unknown {
                reason: Reason::TimedOut,
                limit: Some(Limit::NotRepeatable),
                ..
            }
        ),
        "{ended:?}"
    );
    let orders = premises.plain_orders();
    assert_eq!((orders.get(&7), orders.get(&8)), (Some(&1), Some(&1)));
    assert_eq!(sender.dead_letters().len(), 1);
    shop.kill();
}

/// The trap undoes nothing but itself, and the message ends when its time is over.
#[test]
fn a_function_that_always_traps_does_not_keep_others_waiting() {
    let premises = Premises::new(Manners::default());
    let shop = premises.open();
    let replica = replica();
    let outside = outside(&shop, losing_answers_at_first());
    let settings = Settings {
        traps_when_verifying: Some(1),
        max_age_seconds: Some(1_800),
        ..Settings::default()
    };
    let mut sender = Sender::install(&replica, settings, outside);
    let asked = sender.send_one(Spec::post(PLAIN).without_key().verify(PLAIN));
    for _ in 0..5 {
        sender.step();
    }
    let keyed = sender.send_one(Spec::post(KEYED));
    for _ in 0..1_200 {
        sender.step();
    }
    assert!(is_acknowledged(&sender.ended(keyed)));
    let ended = sender.ended(asked);
    assert!(
        matches!(
            ended.outcome,
            Outcome::Unknown {
                limit: Some(Limit::Age),
                ..
            }
        ),
        "{ended:?}"
    );
    shop.kill();
}

#[test]
fn a_durable_method_awaits_the_end_of_its_message() {
    let premises = Premises::new(Manners::default());
    let shop = premises.open();
    let replica = replica();
    let outside = outside(&shop, losing_answers());
    let mut sender = Sender::install(&replica, Settings::default(), outside);
    let args = (ByteBuf::from("order 7"), Spec::post(KEYED));
    let sent = (sender.canister.send(user(1), "order", args.clone())).expect("accepted");
    for _ in 0..10 {
        sender.step();
    }
    sender.upgrade();
    for _ in 0..60 {
        sender.step();
    }
    drop(sent);
    sender.outside.set_plan(Plan::default());
    for _ in 0..200 {
        sender.step();
    }
    assert_eq!(format!("{:?}", sender.unknown()), "[]");
    let retry = sender
        .canister
        .update::<Result<String, String>>(user(1), "order", args);
    assert_eq!(retry.expect("a reply"), Ok("ordered 7".to_owned()));
    assert_eq!(premises.keyed_orders().get(&7), Some(&1));
    assert_eq!(sender.overview().messages, 1, "it was sent once");
    shop.kill();
}

#[test]
fn too_few_cycles_park_the_outbox_until_there_are_enough() {
    let premises = Premises::new(Manners::default());
    let shop = premises.open();
    let replica = replica();
    let kept = 10_000_000_000_000_000;
    let settings = Settings {
        cycles_kept: Some(kept),
        ..Settings::default()
    };
    let mut sender = Sender::install(&replica, settings, outside(&shop, Plan::default()));
    let id = sender.send_one(Spec::post(KEYED));
    for _ in 0..100 {
        sender.step();
    }
    let parked = sender.overview().parked.expect("it is parked");
    assert_eq!(parked.message, id);
    assert!(parked.available < parked.needed && parked.needed > kept);
    assert!(matches!(
        sender.status(id),
        Some(Status::Waiting { attempts: 0, .. })
    ));
    replica.add_cycles(sender.canister.id(), kept * 2);
    sender.run();
    assert!(is_acknowledged(&sender.ended(id)));
    assert_eq!(sender.overview().parked, None);
    shop.kill();
}

/// The canister's own keys are those of nobody else, and of no earlier life.
#[test]
fn no_message_has_the_key_of_another() {
    let premises = Premises::new(Manners::default());
    let shop = premises.open();
    let replica = replica();
    let mut first = Sender::install(
        &replica,
        Settings::default(),
        outside(&shop, Plan::default()),
    );
    let mut second = Sender::install(
        &replica,
        Settings::default(),
        outside(&shop, Plan::default()),
    );
    for sender in [&mut first, &mut second] {
        // Both are the first message of their outbox, with the same body to the same place.
        let ids = [(); 2].map(|()| sender.send_one(Spec::post(KEYED)));
        sender.run();
        assert!(ids.iter().all(|id| is_acknowledged(&sender.ended(*id))));
    }
    assert_eq!(premises.keyed_orders().get(&7), Some(&4));
    first
        .canister
        .reinstall(OUTBOX_CANISTER, (Settings::default(),))
        .expect("a new life");
    let id = first.send_one(Spec::post(KEYED));
    first.run();
    assert!(is_acknowledged(&first.ended(id)));
    assert_eq!(premises.keyed_orders().get(&7), Some(&5));
    shop.kill();
}
