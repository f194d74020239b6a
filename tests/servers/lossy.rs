//! Ten thousand messages through a network that loses answers, to servers that act and then time out and are killed, from a canister that is
//! upgraded and traps: there are as many effects as the outbox says, and nothing is stuck.

use crate::outbox::{Sender, Settings, Spec, is_acknowledged};
use crate::shop::{Manners, Premises};
use idempotency_core::outbox::{MessageId, Outcome, Status};
use integration_tests::outside::{Odds, Outside, Plan};
use integration_tests::{replica, user};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::time::Duration;

const SEED: u64 = 20_261_129;

/// How a message is sent, and to which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Keyed,
    KeyedReplicated,
    /// To a server that knows no keys, but can be asked.
    Asked,
    /// To one that can't be asked either.
    Neither,
}

fn kind(number: u64) -> Kind {
    match number % 20 {
        0 => Kind::KeyedReplicated,
        1..10 => Kind::Keyed,
        10..19 => Kind::Asked,
        _ => Kind::Neither,
    }
}

fn spec(number: u64) -> Spec {
    let keyed = Spec::post(format!("https://shop.example/keyed/{number}"));
    let plain = format!("https://shop.example/plain/{number}");
    let spec = match kind(number) {
        Kind::Keyed => keyed,
        Kind::KeyedReplicated => keyed.replicated(),
        Kind::Asked => Spec::post(&plain).without_key().verify(&plain),
        Kind::Neither => Spec::post(&plain).without_key(),
    };
    // A fifth of the messages are in lanes of ten.
    let lane =
        (number % 10 < 2).then(|| ByteBuf::from(format!("{} {}", number % 40, number / 400)));
    Spec { lane, ..spec }
}

/// Sends so many messages through it all, and compares.
fn survive(messages: u64) {
    let manners = Manners {
        slow_one_in: 500,
        refuses_one_in: 200,
        fails_one_in: 50,
    };
    let premises = Premises::new(manners);
    let mut shop = premises.open();
    let mut outside = Outside::new(SEED, [("shop.example", shop.address)]);
    outside.set_patience(Duration::from_millis(1_500));
    outside.set_plan(Plan {
        outcall: Odds {
            refused: 0.02,
            request_lost: 0.03,
            answer_lost: 0.3,
            duplicated: 0.0,
        },
        ..Plan::default()
    });
    let replica = replica();
    let settings = Settings {
        in_flight: Some(64),
        per_host_per_second: Some(1_000),
        traps_when_told: Some(13),
        ..Settings::default()
    };
    let mut sender = Sender::install(&replica, settings, outside);
    let mut sent: BTreeMap<u64, MessageId> = BTreeMap::new();
    for first in (0..messages).step_by(500) {
        let numbers = first..(first + 500).min(messages);
        let specs: Vec<_> = numbers.clone().map(spec).collect();
        // Undone as a whole: no message, and no work.
        let trapped = sender
            .canister
            .update::<()>(user(1), "send_and_trap", (specs.clone(),));
        assert!(trapped.is_err());
        for (number, id) in numbers.zip(sender.send(specs)) {
            sent.insert(number, id.expect("there is room"));
        }
        for _ in 0..2 {
            sender.step();
        }
    }
    assert_eq!(sender.work(), messages);
    for round in 0.. {
        if sender.overview().waiting == 0 {
            break;
        }
        if round > 3_000 {
            let stuck = sent.values().map(|id| (*id, sender.status(*id)));
            let stuck: Vec<_> = stuck
                .filter(|(_, status)| !matches!(status, Some(Status::Ended(_))))
                .collect();
            panic!("stuck at {:?}: {stuck:?}", replica.get_time());
        }
        sender.step();
        if round % 12 == 5 {
            sender.upgrade();
        }
        if round % 25 == 10 {
            shop.kill();
            sender.outside.remove_server("shop.example");
            sender.step();
            shop = premises.open();
            sender.outside.set_server("shop.example", shop.address);
        }
    }
    for _ in 0..20 {
        sender.step();
    }
    println!("{}", sender.outside.report());
    compare(&sender, &premises, &sent);
    shop.kill();
}

fn compare(sender: &Sender<'_>, premises: &Premises, sent: &BTreeMap<u64, MessageId>) {
    let (keyed, plain) = (premises.keyed_orders(), premises.plain_orders());
    let ids: Vec<_> = sent.values().copied().collect();
    let ended = sender.all_ended(&ids);
    let told = sender.told();
    let mut counts: BTreeMap<(Kind, &str), u64> = BTreeMap::new();
    let mut dead = 0;
    for (number, id) in sent {
        let kind = kind(*number);
        let orders = match kind {
            Kind::Keyed | Kind::KeyedReplicated => &keyed,
            Kind::Asked | Kind::Neither => &plain,
        };
        let effects = orders.get(number).copied().unwrap_or_default();
        let end = &ended[id];
        let name = match &end.outcome {
            Outcome::Acknowledged(_) => {
                assert_eq!(effects, 1, "{number} {kind:?}: {end:?}");
                "acknowledged"
            }
            Outcome::Dead { .. } => {
                assert_eq!(effects, 0, "{number} {kind:?}: {end:?}");
                "dead"
            }
            _ => {
                assert!(
                    effects <= 1,
                    "{number} {kind:?}: {effects} effects, {end:?}"
                );
                "unknown"
            }
        };
        dead += u64::from(!is_acknowledged(end));
        *counts.entry((kind, name)).or_default() += 1;
        assert_eq!(told.get(&id.as_u64()), Some(&1), "{number} was told");
    }
    println!("{counts:?}");
    assert_eq!(sender.dead_letters().len() as u64, dead);
    // Where repeats are recognised, or the server can be asked, nobody is left in doubt, but where it refuses in the end.
    for kind in [Kind::Keyed, Kind::KeyedReplicated, Kind::Asked] {
        let count = |name| counts.get(&(kind, name)).copied().unwrap_or_default();
        let all = count("acknowledged") + count("dead") + count("unknown");
        assert!(count("unknown") * 100 <= all, "{kind:?}: {counts:?}");
    }
    assert!(counts.contains_key(&(Kind::Neither, "unknown")));
}

#[test]
fn ten_thousand_messages_have_the_effects_that_the_outbox_says() {
    survive(10_000);
}
