//! The store of this library, through the functions that the attribute uses.

use crate::{Memory, contestant::Contestant, memory};
use bench_work::{STORE_MEMORY, WINDOW};
use candid::Principal;
use idempotency_core::{
    Policy, Store, Timestamp,
    admission::{Decision, Request, admit},
    identity::{
        Argument, Compared, Fingerprint, Fingerprinted, Identity, LazyFingerprint, RequestKey,
        Scope,
    },
};

/// More than is ever filled in.
const CAPACITY: u64 = 20_000_000;

thread_local! {
    pub(crate) static STORE: Store<Memory> = Store::new(
        memory(STORE_MEMORY),
        Policy::new().window(WINDOW).capacity(CAPACITY).capacity_bytes(1 << 36).max_counters(CAPACITY).counter_idle(WINDOW),
    );
}

pub(crate) struct Ours {
    /// The same for all requests: their identities differ. `None` if they have aliases.
    fingerprint: Option<Fingerprint>,
}

impl Ours {
    pub(crate) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        let fingerprint = LazyFingerprint::new(
            &Argument::new(b"arguments"),
            Compared::Argument,
            None,
            &Scope::Caller,
        )
        .fingerprint();
        work(&mut Self {
            fingerprint: Some(fingerprint),
        })
    }

    pub(crate) fn with_aliases<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        work(&mut Self { fingerprint: None })
    }
}

impl Contestant for Ours {
    type Request = Request;

    fn request(&self, number: u64) -> Request {
        let key = RequestKey::of(&number).expect("a number is a key");
        let identity = Identity::new("bench", &Scope::Caller, &Principal::anonymous(), &key)
            .expect("a number is a valid key");
        let aliased = || {
            let (bytes, caller) = (number.to_le_bytes(), Principal::anonymous());
            let argument = Argument::of_call(&bytes, "bench", &caller);
            LazyFingerprint::new(&argument, Compared::Argument, None, &Scope::Caller)
                .with_alias(true)
                .fingerprint()
        };
        Request {
            identity,
            fingerprint: self.fingerprint.unwrap_or_else(aliased),
            created_at: None,
            sequence: None,
            scope: None,
        }
    }

    fn insert(&mut self, request: &Request, now: Timestamp, reply: Vec<u8>) {
        STORE.with(|store| match &admit(store, request, now) {
            Decision::Execute(ticket) => {
                store.record(ticket, &reply).expect("the store is sound");
            }
            other => panic!("a new request is executed, not {other:?}"),
        });
    }

    fn hit(&mut self, request: &Request, now: Timestamp) {
        STORE.with(|store| match admit(store, request, now) {
            Decision::Replay(reply) => drop(std::hint::black_box(reply)),
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
            .with(|store| store.evict(now, 1))
            .expect("the store is sound");
    }

    fn entries(&self) -> u64 {
        STORE.with(|store| store.stats().entries)
    }

    fn stable_pages(&self) -> u64 {
        use ic_stable_structures::Memory;
        memory(STORE_MEMORY).size()
    }
}
