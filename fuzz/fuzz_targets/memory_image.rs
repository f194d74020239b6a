//! Any bytes as the memory of a store: it refuses them or works, and comes to an end.

#![no_main]

#[path = "../../idempotency-core/src/store/tests/harness/mod.rs"]
mod harness;

use arbitrary::Arbitrary;
use candid::Principal;
use harness::{
    Attempts, Chapter, End, LANES, Reply, SCALES, Scale, Seed, TestMemory, any_image, survive,
};
use idempotency_core::{
    self as library, Store, Timestamp,
    admission::Ticket,
    identity::{Identity, RequestKey, Scope},
};
use libfuzzer_sys::fuzz_target;
use std::fmt;

#[derive(Arbitrary)]
struct Input {
    scale: u8,
    start: Start,
    chapters: Vec<Part>,
}

#[derive(Arbitrary, Debug)]
enum Start {
    NewStore,
    Image {
        has_today_layout: bool,
        pages: u8,
        bytes: Vec<u8>,
    },
}

#[derive(Arbitrary)]
struct Part {
    is_closed: bool,
    patches: Vec<Seed>,
    ops: Vec<Seed>,
}

impl Input {
    fn scale(&self) -> Scale {
        let scales = SCALES.iter().chain(&[LANES]);
        *scales
            .cycle()
            .nth(self.scale.into())
            .expect("a cycle has no end")
    }

    fn chapters(&self) -> Vec<Chapter> {
        (self.chapters.iter())
            .map(|part| Chapter::new(self.scale(), part.is_closed, &part.patches, &part.ops))
            .collect()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("scale", &self.scale())
            .field("start", &self.start)
            .field("chapters", &self.chapters())
            .finish()
    }
}

/// The public interface has no attempts that last: whatever begins is done at once.
#[derive(Default)]
struct AtOnce;

impl Attempts for AtOnce {
    fn identity(key: u8) -> Identity {
        let key = RequestKey::of(&key).expect("it is not None");
        Identity::new("fuzzed", &Scope::Global, &Principal::anonymous(), &key)
            .expect("the key is short")
    }

    fn begin(&mut self, store: &Store<TestMemory>, ticket: &Ticket) -> Option<()> {
        harness::record(store, ticket, vec![])
    }

    fn end(
        &mut self,
        _: &Store<TestMemory>,
        _: usize,
        _: End,
        _: Reply,
        _: Timestamp,
    ) -> Option<bool> {
        Some(false)
    }
}

fuzz_target!(|input: Input| {
    let memory = match &input.start {
        Start::NewStore => TestMemory::new(2_000),
        Start::Image {
            has_today_layout,
            pages,
            bytes,
        } => {
            let version = if *has_today_layout { 3 } else { 2 };
            any_image(version, u64::from(*pages) % 32 + 1, bytes)
        }
    };
    survive::<AtOnce>(&memory, input.scale(), &input.chapters());
});
