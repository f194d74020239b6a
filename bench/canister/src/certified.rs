//! The store with a hash tree. Nothing is hashed by a timer here: the runner says when.

use crate::{Memory, contestant::Contestant, instructions, memory, ours::Ours};
use bench_work::WINDOW;
use ic_stable_structures::Memory as _;
use idempotency_core::{
    Policy, Store, Timestamp,
    admission::{Decision, Request, admit},
    certified, idempotent,
    outcome::Asked,
    prove,
};
use serde_bytes::ByteBuf;
use std::{hint::black_box, time::Duration};

const MEMORY: u8 = 13;

/// 12 requests a second instead of 200: 1,000,000 in a window.
const SLOWER: u64 = 17;

thread_local! {
    static STORE: Store<Memory> = Store::new(
        memory(MEMORY),
        Policy::new()
            .window(WINDOW)
            .capacity(20_000_000)
            .capacity_bytes(1 << 36)
            .certify(Duration::from_secs(365 * 24 * 3600)),
    );
}

pub(crate) struct Certified<'a>(&'a mut Ours);

impl Certified<'_> {
    pub(crate) fn with<T>(work: impl FnOnce(&mut Certified<'_>) -> T) -> T {
        Ours::with(|ours| work(&mut Certified(ours)))
    }
}

fn slower(now: Timestamp) -> Timestamp {
    let epoch = bench_work::EPOCH_SECONDS * 1_000_000_000;
    Timestamp::from_nanos(epoch + (now.as_nanos() - epoch) * SLOWER)
}

impl Contestant for Certified<'_> {
    type Request = Request;

    fn request(&self, number: u64) -> Request {
        self.0.request(number)
    }

    fn insert(&mut self, request: &Request, now: Timestamp, reply: Vec<u8>) {
        STORE.with(|store| match &admit(store, request, slower(now)) {
            Decision::Execute(ticket) => {
                store.record(ticket, &reply).expect("the store is sound");
            }
            other => panic!("a new request is executed, not {other:?}"),
        });
    }

    fn hit(&mut self, request: &Request, now: Timestamp) {
        STORE.with(|store| match admit(store, request, slower(now)) {
            Decision::Replay(reply) => drop(black_box(reply)),
            other => panic!("a known request is replayed, not {other:?}"),
        });
    }

    fn is_known(&self, request: &Request) -> bool {
        STORE
            .with(|store| store.guaranteed_until(&request.identity))
            .expect("the store is sound")
            .is_some()
    }

    fn expire(&mut self, now: Timestamp) {
        STORE
            .with(|store| store.evict(slower(now), 1))
            .expect("the store is sound");
    }

    fn entries(&self) -> u64 {
        STORE.with(|store| store.stats().entries)
    }

    fn stable_pages(&self) -> u64 {
        memory(MEMORY).size()
    }
}

/// Has the canister certify the tree.
#[ic_cdk::update]
fn start_certified() {
    idempotency_core::install(&STORE);
    certified::install(&STORE, "bench");
}

/// Hashes what has changed: the instructions of each batch.
#[ic_cdk::update]
fn hash_certified() -> Vec<u64> {
    let mut batches = vec![];
    loop {
        let before = instructions();
        let has_more = certified::batch(&STORE).expect("the store is sound");
        batches.push(instructions() - before);
        if !has_more {
            return batches;
        }
    }
}

#[idempotent(store = STORE, key = *number)]
#[ic_cdk::update]
fn pay_certified(number: u64) -> ByteBuf {
    black_box(number);
    ByteBuf::from([7; 30])
}

/// Instructions of a proof but for decoding what is asked and encoding the answer, and the bytes of its witness.
#[ic_cdk::query]
fn prove_certified(asked: Asked) -> Vec<u64> {
    let before = instructions();
    let proof = prove!(asked; pay_certified).expect("it is certified");
    vec![instructions() - before, proof.witness.len() as u64]
}
