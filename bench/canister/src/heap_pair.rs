//! The opponent of the ICRC ledgers: a map from the hash of a transaction to its index, and a queue in the order of
//! expiry, both on the heap. It remembers no reply. Its heap pages are charged when the message has ended, where the
//! instruction counter doesn't see them, and it must be written out and read in at every upgrade.

use crate::contestant::Contestant;
use bench_work::WINDOW;
use idempotency_core::Timestamp;
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    hint::black_box,
};

type Id = [u8; 32];

thread_local! {
    static PAIR: RefCell<HeapPair> = RefCell::new(HeapPair::default());
}

#[derive(Default)]
pub(crate) struct HeapPair {
    indices: BTreeMap<Id, u64>,
    expiry: VecDeque<(u64, Id)>,
}

impl HeapPair {
    pub(crate) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        PAIR.with_borrow_mut(work)
    }
}

impl Contestant for HeapPair {
    type Request = Id;

    fn request(&self, number: u64) -> Id {
        blake3::hash(&number.to_le_bytes()).into()
    }

    fn insert(&mut self, id: &Id, now: Timestamp, _reply: Vec<u8>) {
        assert!(!self.indices.contains_key(id));
        self.indices.insert(*id, now.as_nanos());
        let expires_at = now.as_nanos() + WINDOW.as_nanos() as u64;
        self.expiry.push_back((expires_at, *id));
    }

    fn hit(&mut self, id: &Id, _now: Timestamp) {
        black_box(self.indices.get(id).expect("the request is known"));
    }

    fn is_known(&self, id: &Id) -> bool {
        self.indices.contains_key(id)
    }

    fn expire(&mut self, now: Timestamp) {
        let oldest = self.expiry.front();
        if let Some((_, id)) = oldest.filter(|(at, _)| *at < now.as_nanos()) {
            self.indices.remove(id);
            self.expiry.pop_front();
        }
    }

    fn entries(&self) -> u64 {
        self.indices.len() as u64
    }

    fn stable_pages(&self) -> u64 {
        0
    }
}
