//! Sequence numbers, in strict lanes of the same store.

use crate::{
    contestant::Contestant,
    ours::{Ours, STORE},
};
use bench_work::LANES;
use candid::Principal;
use idempotency_core::{
    Timestamp,
    admission::Request,
    identity::{Identity, LaneKey, Scope},
    sequence::Sequence,
};

pub(crate) struct Sequences<'a>(&'a mut Ours);

impl Sequences<'_> {
    pub(crate) fn with<T>(work: impl FnOnce(&mut Sequences<'_>) -> T) -> T {
        Ours::with(|ours| work(&mut Sequences(ours)))
    }
}

impl Contestant for Sequences<'_> {
    type Request = Request;

    fn request(&self, number: u64) -> Request {
        let (scope, caller) = (Scope::Caller, Principal::anonymous());
        let sequence = Sequence {
            lane: Identity::of_lane("bench", &scope, &caller, &LaneKey::of(&(number % LANES)))
                .expect("a caller is a valid scope"),
            number: number / LANES,
            max_in_flight: 1,
            first_incomplete: None,
            is_shared: false,
        };
        Request {
            identity: Identity::of_number(&sequence.lane, sequence.number),
            sequence: Some(sequence),
            scope: None,
            ..self.0.request(number)
        }
    }

    fn insert(&mut self, request: &Request, now: Timestamp, reply: Vec<u8>) {
        self.0.insert(request, now, reply);
    }

    fn hit(&mut self, request: &Request, now: Timestamp) {
        self.0.hit(request, now);
    }

    fn is_known(&self, request: &Request) -> bool {
        let sequence = request.sequence.expect("it has a number");
        let next = STORE.with(|store| store.next_number(&sequence.lane));
        sequence.number < next.expect("the store is sound")
    }

    fn expire(&mut self, now: Timestamp) {
        self.0.expire(now);
    }

    /// Its lanes.
    fn entries(&self) -> u64 {
        STORE.with(|store| store.stats().counters)
    }

    fn stable_pages(&self) -> u64 {
        self.0.stable_pages()
    }
}
