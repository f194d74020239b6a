//! Quotas in single cases: what counts, from when, and until when.

use super::scope_identity;
use crate::{
    admission::{self, Decision, Request, Ticket},
    error::IdempotencyError,
    identity::{Fingerprint, Identity, Scope},
    policy::Policy,
    store::{
        Attempt, Origin, Reply, Store,
        tests::{harness::TestMemory, hashed},
    },
    time::Timestamp,
};
use candid::Principal;
use std::time::Duration;

const START: u64 = 1_000_000;
const WINDOW: u64 = 3_200;
const LARGEST: u64 = 640;
/// A reply as short as can be counts as much.
const SHORT: u64 = 64;

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::ZERO)
        .max_reply_bytes(LARGEST as u32)
        .quota(4, 4 * LARGEST)
}

struct World {
    memory: TestMemory,
    store: Store<TestMemory>,
    now: u64,
}

impl World {
    fn open(policy: Policy) -> Self {
        let memory = TestMemory::new(u64::MAX);
        let store = Store::open(memory.clone(), policy, Timestamp::from_nanos(START)).unwrap();
        Self {
            memory,
            store,
            now: START,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    fn upgrade(&mut self, policy: Policy) {
        self.store = Store::open(self.memory.clone(), policy, self.now()).unwrap();
    }

    fn admit_in(&self, scope: Identity, key: u64) -> Decision {
        let request = Request {
            identity: hashed(key),
            fingerprint: Fingerprint::default(),
            created_at: None,
            sequence: None,
            scope: Some(scope),
        };
        admission::admit(&self.store, &request, self.now())
    }

    /// A request of a caller.
    fn admit(&self, caller: u8, key: u64) -> Result<Ticket, IdempotencyError> {
        match self.admit_in(scope_identity(caller), key) {
            Decision::Execute(ticket) => Ok(ticket),
            Decision::Refuse(error) => Err(error),
            Decision::Replay(_) => panic!("{key} was executed before"),
        }
    }

    fn record(&self, caller: u8, key: u64, reply_bytes: u64) {
        let ticket = self.admit(caller, key).unwrap();
        let reply = vec![7; reply_bytes as usize];
        self.store.record(&ticket, &reply).unwrap();
    }

    fn begin(&self, caller: u8, key: u64) -> (Ticket, Attempt) {
        let ticket = self.admit(caller, key).unwrap();
        let attempt = self.store.begin(&ticket, &Origin::NOWHERE).unwrap();
        (ticket, attempt)
    }

    fn complete(&self, (ticket, attempt): &(Ticket, Attempt), reply: Option<&[u8]>) {
        let ended = self
            .store
            .complete(ticket, *attempt, reply.map(Reply::first), self.now());
        assert_eq!(ended, Ok(true));
    }

    /// Requests and bytes of replies that a caller is charged for.
    fn taken(&self, caller: u8) -> (u64, u64) {
        let usage = self.store.usage(&scope_identity(caller), self.now());
        usage.unwrap().counter.taken(self.now)
    }

    fn is_over_quota(&self, caller: u8) -> bool {
        let answer = self.admit(caller, 999);
        matches!(answer, Err(IdempotencyError::QuotaExceeded { .. }))
    }
}

/// What becomes of an async request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Reply(u64),
    NoReply,
    Interrupted,
    Released,
    CutOff,
}

#[test]
fn each_request_counts_once_and_with_its_reply() {
    let fates = [
        (Fate::Reply(0), 0),
        (Fate::Reply(1), SHORT),
        (Fate::Reply(SHORT), SHORT),
        (Fate::Reply(SHORT + 1), 2 * SHORT),
        (Fate::Reply(LARGEST), LARGEST),
        (Fate::NoReply, 0),
        (Fate::Interrupted, 0),
        (Fate::Released, 0),
        (Fate::CutOff, 0),
    ];
    for (fate, reply_bytes) in fates {
        let mut world = World::open(policy());
        world.record(1, 0, 1);
        assert_eq!(world.taken(1), (1, SHORT));
        world.now += 1;
        let begun = world.begin(1, 1);
        assert_eq!(world.taken(1), (2, SHORT + LARGEST), "room is reserved");
        let (ticket, attempt) = &begun;
        match fate {
            Fate::Reply(bytes) => world.complete(&begun, Some(&vec![7; bytes as usize])),
            Fate::NoReply => world.complete(&begun, None),
            Fate::Interrupted => {
                let ended = world.store.interrupt(ticket, *attempt, world.now());
                assert_eq!(ended, Ok(true));
            }
            Fate::Released => assert_eq!(world.store.release(ticket, *attempt), Ok(true)),
            Fate::CutOff => world.upgrade(policy()),
        }
        assert_eq!(world.taken(1), (2, SHORT + reply_bytes), "{fate:?}");
        world.upgrade(policy());
        assert_eq!(world.taken(1), (2, SHORT + reply_bytes), "{fate:?}");
        // Window, a thirty-second for its partition and a sixth for its bucket.
        world.now += WINDOW + WINDOW / 32 + WINDOW / 6 + 2;
        assert_eq!(world.taken(1), (0, 0), "{fate:?}");
    }
}

#[test]
fn as_many_requests_are_taken_as_the_quota_says() {
    let world = World::open(policy().quota(3, 100 * LARGEST));
    for key in 0..3 {
        assert!(!world.is_over_quota(1));
        world.record(1, key, 1);
    }
    assert!(world.is_over_quota(1));
    assert!(!world.is_over_quota(2));
}

#[test]
fn as_many_bytes_are_taken_as_the_quota_says() {
    for (more, is_over) in [(0, false), (1, true)] {
        let world = World::open(policy().quota(100, LARGEST + 3 * SHORT));
        world.record(1, 0, 3 * SHORT + more);
        assert_eq!(world.is_over_quota(1), is_over);
    }
    // What is running has the largest reply until it has another.
    let world = World::open(policy().quota(100, 3 * LARGEST));
    let begun: Vec<_> = (0..3).map(|key| world.begin(1, key)).collect();
    let soon = Timestamp::from_nanos(world.now + 1);
    let refused = IdempotencyError::QuotaExceeded { retry_after: soon };
    assert_eq!(world.admit(1, 3), Err(refused));
    world.complete(&begun[0], Some(&[7; LARGEST as usize]));
    assert!(world.is_over_quota(1));
    world.complete(&begun[1], Some(&[]));
    assert!(!world.is_over_quota(1));
}

/// However long it runs: also when its record has gone, and its scope is forgotten.
#[test]
fn what_runs_on_counts_for_as_long_as_it_is_remembered() {
    for reply in [Some([7; 65].as_slice()), None] {
        let mut world = World::open(policy().counter_idle(Duration::ZERO));
        let begun = world.begin(1, 0);
        world.now += WINDOW;
        world.store.evict(world.now(), u32::MAX).unwrap();
        assert_eq!(world.taken(1), (1, LARGEST));
        for _ in 0..10 {
            world.now += WINDOW;
            world.store.evict(world.now(), u32::MAX).unwrap();
            assert_eq!(world.taken(1), (0, 0));
        }
        assert_eq!(world.store.stats().counters, 0);
        match reply {
            Some(reply) => world.complete(&begun, Some(reply)),
            None => {
                let ended = world.store.interrupt(&begun.0, begun.1, world.now());
                assert_eq!(ended, Ok(true));
            }
        }
        let counted = (1, reply.map_or(0, |_| 2 * SHORT));
        let until = world.store.guaranteed_until(&hashed(0)).unwrap().unwrap();
        for time in [world.now, until.as_nanos()] {
            world.now = time;
            assert_eq!(world.taken(1), counted);
        }
        world.now += WINDOW / 6 + 1;
        assert_eq!(world.taken(1), (0, 0));
    }
}

/// Under a shorter window it lies with what the longer one is still kept for.
#[test]
fn after_the_window_was_shortened_a_request_counts_once() {
    let long = policy().window(Duration::from_nanos(100_000));
    let mut world = World::open(long);
    world.record(2, 0, 1);
    world.upgrade(policy());
    for key in 1..=4 {
        let begun = world.begin(1, key);
        world.complete(&begun, Some(&[7]));
        assert_eq!(world.taken(1), (key, key * SHORT));
    }
    assert!(world.is_over_quota(1));
}

#[test]
fn a_shorter_window_forgets_no_charge() {
    const LONG: u64 = 100_000;
    let long = policy()
        .window(Duration::from_nanos(LONG))
        .max_counters(2)
        .counter_idle(Duration::ZERO)
        .evict_idle_counters();
    let mut world = World::open(long);
    for key in 0..4 {
        world.record(1, key, 1);
    }
    world.upgrade(long.window(Duration::from_nanos(WINDOW)));
    world.now += LONG / 5;
    world.record(2, 100, 1);
    world.now += 2 * WINDOW;
    // Whoever comes new waits until nothing is charged any more to one of those who are known.
    let Err(IdempotencyError::Full { retry_after }) = world.admit(3, 101) else {
        panic!("somebody was forgotten");
    };
    world.now = START + LONG;
    world.store.evict(world.now(), u32::MAX).unwrap();
    assert_eq!(world.taken(1), (4, 4 * SHORT));
    assert!(world.is_over_quota(1));
    world.now = retry_after.as_nanos();
    assert!(world.admit(3, 101).is_ok());
}

/// A scope that goes on under the shorter window takes with it what it did under the longer one.
#[test]
fn a_scope_that_is_used_under_a_shorter_window_forgets_no_charge() {
    const LONG: u64 = 100_000;
    let long = policy()
        .window(Duration::from_nanos(LONG))
        .counter_idle(Duration::ZERO);
    let mut world = World::open(long);
    for key in 0..3 {
        world.record(1, key, 1);
    }
    world.upgrade(long.window(Duration::from_nanos(WINDOW)));
    world.record(1, 3, 1);
    while world.now <= START + LONG {
        assert_eq!(world.taken(1), (4, 4 * SHORT));
        world.now += WINDOW;
        world.store.evict(world.now(), u32::MAX).unwrap();
    }
}

/// What lies with requests of a longer window is held for as long as they, and its scope known for as long as that.
#[test]
fn a_scope_is_known_for_as_long_as_what_it_is_charged_for() {
    let policy = policy().counter_idle(Duration::ZERO);
    let mut world = World::open(Policy {
        window: Duration::from_nanos(100_000),
        quota: None,
        ..policy
    });
    world.record(2, 0, 1);
    world.upgrade(policy);
    world.record(1, 1, 1);
    let until = world.store.guaranteed_until(&hashed(1)).unwrap().unwrap();
    assert!(until.as_nanos() >= START + 100_000);
    while world.now <= until.as_nanos() {
        assert_eq!(world.taken(1), (1, SHORT));
        world.now += WINDOW;
        world.store.evict(world.now(), u32::MAX).unwrap();
    }
}

/// Nobody went through all that the store holds to see whose it is.
#[test]
fn a_quota_counts_from_when_it_is_set() {
    let without = Policy {
        quota: None,
        ..policy()
    };
    let mut world = World::open(without);
    for key in 0..4 {
        world.record(1, key, 1);
    }
    world.upgrade(policy());
    assert_eq!(world.taken(1), (0, 0));
    world.record(1, 4, 1);
    // What was counted stays so while there is no quota, and nothing is added.
    world.upgrade(without);
    world.record(1, 5, 1);
    world.upgrade(policy());
    assert_eq!(world.taken(1), (1, SHORT));
}

/// `scope = arg.room` of one endpoint, where rooms are any bytes, and `scope = arg.owner` of another, which lets in nobody
/// but the owner.
#[test]
fn a_scope_of_one_endpoint_is_none_of_another() {
    let (owner, other) = (
        Principal::from_slice(&[9; 29]),
        Principal::from_slice(&[8; 29]),
    );
    let of = |endpoint, scope: &Scope, caller| Identity::of_scope(endpoint, scope, caller).unwrap();
    let account = of("pay", &Scope::of(&owner), &owner);
    let room = of("talk", &Scope::of(&[9u8; 29]), &other);
    let world = World::open(policy());
    let mut key = 0;
    while let Decision::Execute(ticket) = world.admit_in(room, key) {
        world.store.record(&ticket, &[7]).unwrap();
        key += 1;
    }
    assert_eq!(key, 4);
    assert!(matches!(world.admit_in(account, key), Decision::Execute(_)));

    let everybody = |endpoint| of(endpoint, &Scope::Global, &other);
    assert_ne!(everybody("pay"), everybody("talk"));
    assert_eq!(everybody("pay"), of("pay", &Scope::Global, &owner));
    // A caller has one quota for the whole store.
    let callers = |endpoint, caller| of(endpoint, &Scope::Caller, caller);
    assert_eq!(callers("pay", &owner), callers("talk", &owner));
    assert_ne!(callers("pay", &owner), callers("pay", &other));
}
