//! What each way begins with: a canister whose archive has what was executed before.

use super::{
    super::super::{
        endpoints::{Answer, FORGET},
        user,
    },
    Case, SAME,
    way::{End, Way},
};
use crate::{
    access::StoreAccess as _,
    archive::{
        Id,
        tests::world::{WINDOW, World, archive_policy},
    },
    identity::{Identity, RequestKey, Scope},
    store::{Stats, Store},
    table::tail,
};
use std::{cell::RefCell, collections::BTreeMap};

/// What each way begins with.
pub(super) struct Start {
    pub(super) world: World,
    pub(super) keys: [u64; 2],
    /// The reply that is archived.
    pub(super) first: Option<Vec<u8>>,
    pub(super) stats: Stats,
    /// The statistics when one request was executed, and nothing else came.
    pub(super) with_one: Option<Stats>,
    /// Replies that were decoded: there are few that differ.
    pub(super) decoded: RefCell<BTreeMap<Vec<u8>, Answer>>,
}

fn id(key: u64) -> Id {
    let key = RequestKey::of(&key).expect("a key");
    let identity = Identity::new(FORGET.name, &Scope::Global, &user(1), &key);
    tail(identity.expect("an identity").name())
}

impl Start {
    pub(super) fn of(case: &Case) -> Self {
        let world = World::new(case.policy, archive_policy(1_000).one_in(2));
        let stats = world.store.with(Store::stats);
        let mut start = Self {
            world,
            keys: [1, 2],
            first: None,
            stats,
            with_one: None,
            decoded: RefCell::default(),
        };
        if case.is_archived {
            let of_sync = Case {
                is_async: false,
                ..case.clone()
            };
            let mut way = Way::new(&of_sync, &start);
            way.send(SAME);
            let Some(End::Reply(reply)) = way.calls[0].end.clone() else {
                panic!("it is executed at once");
            };
            let world = way.world.again();
            drop(way);
            start.world = world;
            start.first = Some(reply);
        }
        for key in 0..20 {
            assert!(start.world.execute(key));
        }
        start.world.settle(2 * WINDOW);
        assert_eq!(start.world.held(), 0);
        if case.is_almost_full {
            for key in 100..100 + case.policy.capacity - 1 {
                assert!(start.world.execute(key));
            }
        }
        let mut wrong = (1_000..).filter(|key| start.world.may_hold_id(&id(*key)));
        if !case.is_archived {
            start.keys[0] = wrong.next().expect("there are many");
        }
        start.keys[1] = wrong.next().expect("there are many");
        assert!(
            start
                .keys
                .iter()
                .take(1)
                .all(|key| start.world.may_hold_id(&id(*key)))
        );
        start.stats = start.world.store.with(Store::stats);
        let mut alone = Way::new(case, &start);
        alone.send(SAME);
        alone.let_end();
        let with_one = alone.stats();
        drop(alone);
        start.with_one = Some(with_one);
        start
    }

    pub(super) fn decode(&self, reply: &[u8]) -> Answer {
        if let Some(answer) = self.decoded.borrow().get(reply) {
            return answer.clone();
        }
        let answer: Answer = candid::decode_one(reply).expect("an answer");
        (self.decoded.borrow_mut()).insert(reply.to_vec(), answer.clone());
        answer
    }
}
