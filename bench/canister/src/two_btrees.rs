//! The opponent that is easiest to write: a stable map of records, and a stable map in the order of expiry.

use crate::{Memory, contestant::Contestant, memory};
use bench_work::WINDOW;
use ic_stable_structures::{Memory as _, StableBTreeMap};
use idempotency_core::Timestamp;
use std::{cell::RefCell, hint::black_box};

const RECORDS_MEMORY: u8 = 20;
const EXPIRY_MEMORY: u8 = 21;

type Id = [u8; 32];

/// Expiry, and a reply of 40 bytes.
type Record = [u8; 48];

thread_local! {
    static TREES: RefCell<TwoBtrees> = RefCell::new(TwoBtrees {
        records: StableBTreeMap::init(memory(RECORDS_MEMORY)),
        expiry: StableBTreeMap::init(memory(EXPIRY_MEMORY)),
    });
}

pub(crate) struct TwoBtrees {
    records: StableBTreeMap<Id, Record, Memory>,
    expiry: StableBTreeMap<(u64, Id), (), Memory>,
}

impl TwoBtrees {
    pub(crate) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        TREES.with_borrow_mut(work)
    }
}

impl Contestant for TwoBtrees {
    type Request = Id;

    fn request(&self, number: u64) -> Id {
        blake3::hash(&number.to_le_bytes()).into()
    }

    fn insert(&mut self, id: &Id, now: Timestamp, reply: Vec<u8>) {
        assert!(!self.records.contains_key(id));
        let expires_at = now.as_nanos() + WINDOW.as_nanos() as u64;
        let mut record = [0; 48];
        record[..8].copy_from_slice(&expires_at.to_le_bytes());
        record[8..8 + reply.len()].copy_from_slice(&reply);
        self.records.insert(*id, record);
        self.expiry.insert((expires_at, *id), ());
    }

    fn hit(&mut self, id: &Id, _now: Timestamp) {
        black_box(self.records.get(id).expect("the request is known"));
    }

    fn is_known(&self, id: &Id) -> bool {
        self.records.contains_key(id)
    }

    fn expire(&mut self, now: Timestamp) {
        let oldest = self.expiry.first_key_value();
        if let Some((key, ())) = oldest.filter(|((at, _), ())| *at < now.as_nanos()) {
            self.expiry.remove(&key);
            self.records.remove(&key.1);
        }
    }

    fn entries(&self) -> u64 {
        self.records.len()
    }

    fn stable_pages(&self) -> u64 {
        memory(RECORDS_MEMORY).size() + memory(EXPIRY_MEMORY).size()
    }
}
