//! The store and admission: against a naive model, in single cases, and on memories that something else has written to.
//!
//! Each property runs 256 sequences of up to 800 operations. For ten millions of operations, in a few minutes:
//!
//! ```text
//! PROPTEST_CASES=25000 cargo test -p idempotency-core --lib store::tests::properties
//! ```
//!
//! The same harness is fuzzed in `fuzz/`.

mod aliases;
mod cases;
mod certify;
mod damaged;
mod durable;
mod golden;
mod growth;
mod harness;
mod lanes;
mod model;
mod partitions;
mod properties;
mod running;
#[cfg(feature = "archive")]
mod shipping;

use super::Store;
use crate::{
    self as library,
    admission::Ticket,
    identity::Identity,
    store::{Attempt, Origin},
    time::Timestamp,
};
use harness::{Attempts, End, Reply, TestMemory, kept};
use proptest::prelude::*;

/// The identity of a number as it would be hashed.
fn hashed(number: u64) -> Identity {
    let mut identity = [0; 24];
    identity.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..24]);
    Identity(identity)
}

/// An identity that an attacker has ground: all bits that the index goes by are those of others.
fn ground(number: u64) -> Identity {
    let mut identity = [7; 24];
    identity[16..].copy_from_slice(&number.to_le_bytes());
    Identity(identity)
}

/// Every attempt that ever began.
#[derive(Default)]
struct AllAttempts(Vec<(Ticket, Attempt)>);

impl Attempts for AllAttempts {
    /// One in four is hashed, half are ground, and the others share fewer bits with these: paths of all lengths.
    fn identity(key: u8) -> Identity {
        let number = u64::from(key);
        match key % 4 {
            0 => hashed(number),
            1 | 2 => ground(number),
            _ => {
                let mut identity = ground(number);
                identity.0[2..4].copy_from_slice(&hashed(number).0[2..4]);
                identity
            }
        }
    }

    fn begin(&mut self, store: &Store<TestMemory>, ticket: &Ticket) -> Option<()> {
        self.0
            .push((ticket.clone(), store.begin(ticket, &Origin::NOWHERE).ok()?));
        Some(())
    }

    fn end(
        &mut self,
        store: &Store<TestMemory>,
        back: usize,
        end: End,
        reply: Reply,
        now: Timestamp,
    ) -> Option<bool> {
        let Some((ticket, attempt)) = self.0.iter().nth_back(back) else {
            return Some(false);
        };
        let reply = reply.bytes();
        let ended = match end {
            End::Complete => store.complete(ticket, *attempt, Some(kept(&reply)), now),
            End::CompleteWithoutReply => store.complete(ticket, *attempt, None, now),
            End::Interrupt => store.interrupt(ticket, *attempt, now),
            End::Release => store.release(ticket, *attempt),
        };
        ended.ok()
    }
}

/// As many sequences as `PROPTEST_CASES` says; Miri, which is a thousand times slower, runs a few.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if cfg!(miri) {
        config.cases = 4;
    }
    config
}

/// Sequences of operations on a store of a scale, as seeds.
fn seeds(most: usize) -> impl Strategy<Value = Vec<harness::Seed>> {
    let most = if cfg!(miri) { most.div_ceil(20) } else { most };
    prop::collection::vec(any::<harness::Seed>(), 1..=most)
}
