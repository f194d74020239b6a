//! What the policy limits: how much, how fast, for how long; and too few cycles.

use super::{
    super::{Outbox, Policy, Request, SendError, Transform, handle::Access},
    world::{World, answer, timed_out},
};
use crate::OpenError;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn post(host: u32) -> Request {
    Request::post(format!("https://host{host}.example/"))
        .body("x")
        .max_response_bytes(1_000)
}

#[test]
fn so_many_at_a_time() {
    let world = World::new(Policy::new().in_flight(3), false);
    let ids: Vec<_> = (0..10)
        .map(|host| world.send(post(host)).unwrap())
        .collect();
    for rest in (0..10).rev() {
        world.pass(SECOND);
        assert_eq!(world.under_way(), (rest + 1).min(3));
        world.answer(0, answer(200, ""));
    }
    assert!(ids.iter().all(|id| world.ended(*id).is_some()));
    // That which would have given up what is under way.
    world.pass(10 * MINUTE);
    assert_eq!(world.timers(), 0);
}

#[test]
fn so_many_a_second_to_one_host() {
    let world = World::new(Policy::new().in_flight(100).per_host_per_second(2), false);
    for _ in 0..20 {
        // The same host, however it is written.
        world
            .send(Request::post("https://HOST1.example/").body("x"))
            .unwrap();
        world.send(post(1)).unwrap();
        world.send(post(2)).unwrap();
    }
    for second in 1..=10 {
        world.pass(SECOND - Duration::from_nanos(1));
        let hosts = world.outcalls(|it| it.request.url.to_lowercase().contains("host1"));
        let first = hosts.iter().filter(|is_it| **is_it).count();
        assert_eq!((first, hosts.len() - first), (2 * second, 2 * second));
        world.pass(Duration::from_nanos(1));
    }
}

#[test]
fn in_order_within_a_lane() {
    let mut world = World::new(Policy::new().per_host_per_second(1_000), false);
    let mut sent = vec![];
    for i in 0..30 {
        let id = world
            .send(
                post(i % 3)
                    .lane(["a", "b"][i as usize % 2])
                    .body(format!("{i}")),
            )
            .unwrap();
        sent.push(id);
    }
    let mut order = [vec![], vec![]];
    for round in 0..200 {
        world.pass(20 * SECOND);
        assert!(world.under_way() <= 2);
        let bodies =
            world.outcalls(|it| String::from_utf8(it.request.body.clone().unwrap()).unwrap());
        for body in bodies {
            let i: usize = body.parse().unwrap();
            order[i % 2].push(i);
        }
        match round % 4 {
            0 => drop(world.upgrade()),
            1 => {
                while world.under_way() > 0 {
                    world.answer(0, timed_out())
                }
            }
            _ => {
                while world.under_way() > 0 {
                    world.answer(0, answer(200, ""))
                }
            }
        }
    }
    for lane in order {
        assert!(lane.is_sorted(), "{lane:?}");
    }
    assert!(sent.iter().all(|id| world.ended(*id).is_some()));
}

#[test]
fn a_full_outbox_takes_nothing_and_what_has_ended_makes_room() {
    let world = World::new(Policy::new().capacity(3), true);
    let first = world.send(post(1)).unwrap();
    for _ in 0..2 {
        world.send(post(1)).unwrap();
    }
    let before = (world.held(), world.bytes());
    assert_eq!(world.send(post(1)), Err(SendError::Full));
    assert_eq!((world.held(), world.bytes()), before);
    world.pass(SECOND);
    world.answer(0, answer(200, ""));
    world.pass(SECOND);
    world.send(post(1)).unwrap();
    assert_eq!(world.held(), 3, "what has ended counts, too");
    assert_eq!(world.send(post(1)), Err(SendError::Full));
    assert_eq!(world.status(first), None, "forgotten before its time");
}

#[test]
fn bytes_are_limited() {
    let one = Request::post("https://host1.example/")
        .body(vec![7; 5_000])
        .max_response_bytes(1_000);
    let world = World::new(Policy::new().capacity_bytes(30_000), false);
    let mut sent = 0;
    while world.send(one.clone()).is_ok() {
        sent += 1;
        assert!(world.bytes() <= 30_000);
    }
    assert_eq!(sent, 4);
    // When they have ended, the answers count as long as they are.
    while world.overview().waiting > 0 {
        world.pass(MINUTE);
        while world.under_way() > 0 {
            world.answer(0, answer(200, "short"));
        }
    }
    assert!(world.bytes() < 4 * 6_000);
}

/// Room is counted for outcomes that are not there, and may never be.
#[test]
fn much_room_for_answers_is_no_damage() {
    let mut world = World::new(Policy::new(), false);
    let sent: Vec<_> = (0..300)
        .map(|host| world.send(post(host).max_response_bytes(50_000)).unwrap())
        .collect();
    let before = world.overview();
    assert!(before.bytes > 300 * 50_000);
    world.upgrade();
    assert_eq!(world.overview(), before);
    for _ in 0..200 {
        world.pass(SECOND);
        while world.under_way() > 0 {
            world.answer(0, answer(200, &"x".repeat(40_000)));
        }
    }
    assert!(sent.iter().all(|id| world.ended(*id).is_some()));
}

#[test]
fn a_scope_has_its_quota() {
    let world = World::new(Policy::new().quota(2, 100_000), false);
    let of = |scope: &str| post(1).scope(scope);
    world.send(of("a")).unwrap();
    world.send(of("a")).unwrap();
    assert_eq!(world.send(of("a")), Err(SendError::QuotaExceeded));
    world.send(of("b")).unwrap();
    world.send(post(1)).unwrap();
    world.pass(SECOND);
    world.answer(0, answer(200, ""));
    world.send(of("a")).unwrap();
    assert_eq!(world.send(of("a")), Err(SendError::QuotaExceeded));
}

#[test]
fn too_few_cycles_park_the_outbox() {
    let world = World::new(Policy::new().cycles_kept(1_000_000_000_000), false);
    let id = world.send(post(1)).unwrap();
    world.set_cycles(1_000_000_000_000);
    world.pass(10 * MINUTE);
    assert_eq!(world.under_way(), 0);
    let parked = world.overview().parked.unwrap();
    assert_eq!((parked.message, parked.available), (id, 1_000_000_000_000));
    assert!(parked.needed > parked.available);
    assert!(world.now().as_nanos() - parked.since.as_nanos() > 9 * 60_000_000_000);
    world.set_cycles(parked.needed);
    world.pass(MINUTE);
    assert_eq!(world.under_way(), 1);
    assert_eq!(world.overview().parked, None);
    assert_eq!(
        world.outcalls(|it| it.cycles < 100_000_000),
        [true],
        "not as for 2 MB"
    );
}

#[test]
fn what_is_parked_for_too_long_was_not_sent() {
    let world = World::new(Policy::new(), false);
    let id = world.send(post(1).max_age(5 * MINUTE)).unwrap();
    world.set_cycles(0);
    world.pass(10 * MINUTE);
    assert_eq!(world.ended(id).unwrap().attempts, 0);
    assert_eq!((world.timers(), world.overview().parked), (0, None));
}

#[test]
fn a_policy_that_cannot_work_is_refused() {
    let policies = [
        Policy::new().capacity(0),
        Policy::new().in_flight(0),
        Policy::new().in_flight(1_000),
        Policy::new().per_host_per_second(0),
        Policy::new().max_attempts(0),
        Policy::new().max_age(Duration::ZERO),
        Policy::new().quota(0, 1),
        Policy::new().backoff(MINUTE, SECOND),
        Policy::new().retention(Duration::MAX),
    ];
    for policy in policies {
        let world = World::new(Policy::new(), false);
        let opened = Outbox::open(
            world.memory.clone(),
            policy,
            Transform::for_tests(),
            &world.ic,
        );
        assert!(
            matches!(opened, Err(OpenError::InvalidPolicy(_))),
            "{policy:?}"
        );
        assert!(
            world.outbox.with(|outbox| outbox.overview()).is_ok(),
            "the memory is unchanged"
        );
    }
}

#[test]
fn a_store_is_no_outbox_and_no_outbox_a_store() {
    let world = World::new(Policy::new(), false);
    let now = world.now();
    let store = crate::Store::open(world.memory.clone(), crate::Policy::new(), now);
    assert_eq!(store.err(), Some(OpenError::OtherPurpose));
    let memory = ic_stable_structures::VectorMemory::default();
    crate::Store::open(memory.clone(), crate::Policy::new(), now).unwrap();
    let outbox = Outbox::open(memory, Policy::new(), Transform::for_tests(), &world.ic);
    assert_eq!(outbox.err(), Some(OpenError::OtherPurpose));
}

#[test]
fn of_two_outboxes_in_one_memory_the_later_one_answers() {
    let world = World::new(Policy::new(), false);
    let later = Outbox::open(
        world.memory.clone(),
        Policy::new(),
        Transform::for_tests(),
        &world.ic,
    );
    assert_eq!(world.send(post(1)), Err(SendError::Damaged));
    assert!(later.unwrap().overview().is_ok());
}
