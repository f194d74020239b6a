//! What is kept and what is forgotten, beside a plain model: a small outbox that is full most of the time.

use super::{
    super::{MessageId, Policy, Request, SendError, Status},
    world::{World, answer},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

#[derive(Clone, Debug)]
enum Event {
    Send { bytes: u16, scope: u8 },
    Pass { seconds: u16 },
    Answer { is_good: bool, bytes: u16 },
    Upgrade,
    Dismiss(u8),
    Resend(u8),
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Acknowledged,
    Dead,
    Dismissed,
}

const CAPACITY: u64 = 12;
const CAPACITY_BYTES: u64 = 40_000;

fn policy() -> Policy {
    Policy::new()
        .capacity(CAPACITY)
        .capacity_bytes(CAPACITY_BYTES)
        .quota(5, 20_000)
        .max_age(Duration::from_secs(600))
        .retention(Duration::from_secs(600))
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..6_000u16, 0..3u8).prop_map(|(bytes, scope)| Event::Send { bytes, scope }),
        3 => prop_oneof![0..3u16, 0..300u16].prop_map(|seconds| Event::Pass { seconds }),
        6 => (any::<bool>(), 0..900u16).prop_map(|(is_good, bytes)| Event::Answer { is_good, bytes }),
        1 => Just(Event::Upgrade),
        1 => any::<u8>().prop_map(Event::Dismiss),
        1 => any::<u8>().prop_map(Event::Resend),
    ]
}

fn check(events: Vec<Event>, is_told: bool) {
    let mut world = World::new(policy(), is_told);
    let mut model: BTreeMap<MessageId, Stage> = BTreeMap::new();
    let mut has_resent = false;
    for event in events {
        match event {
            Event::Send { bytes, scope } => {
                let url = "https://shop.example/";
                let request = Request::post(url)
                    .body(vec![7; bytes.into()])
                    .max_response_bytes(1_000);
                let request = match scope {
                    0 => request,
                    scope => request.scope([scope]),
                };
                match world.send(request) {
                    Ok(id) => {
                        assert_eq!(model.insert(id, Stage::Waiting), None, "numbers come once");
                        assert!(world.held() <= CAPACITY);
                        assert!(world.bytes() <= CAPACITY_BYTES || has_resent);
                    }
                    Err(SendError::Full | SendError::QuotaExceeded) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            Event::Pass { seconds } => world.pass(Duration::from_secs(seconds.into())),
            Event::Answer { is_good, bytes } => {
                if world.under_way() > 0 {
                    let status = if is_good { 200 } else { 400 };
                    world.answer(0, answer(status, &"x".repeat(bytes.into())));
                }
            }
            Event::Upgrade => {
                let before = world.overview();
                world.upgrade();
                let after = world.overview();
                assert_eq!(
                    (
                        after.messages,
                        after.bytes,
                        after.waiting,
                        after.dead_letters
                    ),
                    (
                        before.messages,
                        before.bytes,
                        before.waiting,
                        before.dead_letters
                    )
                );
            }
            Event::Dismiss(which) | Event::Resend(which) => {
                let which = model
                    .keys()
                    .nth(usize::from(which) % model.len().max(1))
                    .copied();
                let Some(id) = which else {
                    continue;
                };
                let is_dead = world.dead_letters().contains(&id);
                if matches!(event, Event::Dismiss(_)) {
                    assert_eq!(world.dismiss(id), is_dead);
                    if is_dead {
                        model.insert(id, Stage::Dismissed);
                    }
                } else {
                    assert_eq!(world.resend(id), is_dead);
                    if is_dead {
                        has_resent = true;
                        model.insert(id, Stage::Waiting);
                    }
                }
            }
        }
        compare(&world, &mut model, is_told);
    }
}

fn compare(world: &World, model: &mut BTreeMap<MessageId, Stage>, is_told: bool) {
    let letters = world.dead_letters();
    let mut waiting = 0;
    for (id, stage) in model.iter_mut() {
        let status = world.status(*id);
        if *stage == Stage::Waiting {
            match &status {
                Some(Status::Ended(ended)) => {
                    *stage = match ended.outcome.is_dead_letter() {
                        true => Stage::Dead,
                        false => Stage::Acknowledged,
                    };
                }
                Some(_) => waiting += 1,
                None => panic!("{id} is lost"),
            }
        }
        match (*stage, status) {
            (Stage::Dead, Some(_)) => assert!(letters.contains(id)),
            // Somebody was told of it, and its time is over.
            (Stage::Dead, None) => assert!(is_told, "{id} is lost"),
            (Stage::Dismissed | Stage::Acknowledged, _) => assert!(!letters.contains(id)),
            (Stage::Waiting, _) => {}
        }
    }
    assert!(letters.is_sorted());
    assert_eq!(world.overview().waiting, waiting);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_is_lost_that_must_be_kept(events in prop::collection::vec(event(), 0..150), is_told: bool) {
        check(events, is_told);
    }
}
