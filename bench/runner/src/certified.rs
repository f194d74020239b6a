//! The store with a hash tree: what a request costs more, and hashing it with others.

use crate::{
    Progress,
    results::{Results, Samples, grouped},
    subject::{Subject, replica_at_epoch},
};
use bench_work::{Operation, Who};
use candid::CandidType;
use integration_tests::{Canister, user};
use serde_bytes::ByteBuf;

/// How many requests are hashed together, and how often that is measured.
const BATCHES: [(u32, u64); 4] = [(1, 30), (10, 20), (100, 10), (1_000, 3)];

#[derive(CandidType)]
struct Asked {
    method: String,
    arg: ByteBuf,
}

/// Instructions of the batches that are left.
fn hash(canister: &Canister<'_>) -> Vec<u64> {
    canister
        .update(user(1), "hash_certified", ())
        .expect("it is hashed")
}

pub(crate) fn run(entries: u64, results: &mut Results, progress: &Progress) {
    progress.say(&format!("a tree of {} requests", grouped(entries)));
    let replica = replica_at_epoch();
    let subject = Subject::new(&replica, Who::Certified);
    let canister = &subject.canister;
    canister
        .update::<()>(user(1), "start_certified", ())
        .expect("it starts");
    let empty = subject.room();
    let mut next = 0;
    // Of each message that hashes: per request; and its dearest batch.
    let (mut each, mut dearest) = (vec![], 0);
    while next < entries {
        let count = u32::try_from(entries - next).map_or(20_000, |left| left.min(20_000));
        subject.insert(next, count);
        next += u64::from(count);
        let batches = hash(canister);
        each.push(batches.iter().sum::<u64>() / u64::from(count));
        dearest = dearest.max(batches.into_iter().max().unwrap_or(0));
    }
    let pages = subject.room().stable_pages - empty.stable_pages;
    let bytes = (pages * 65_536) as f64 / entries as f64;
    let mut add = |operation: &str, samples: &Samples, bytes| {
        let name = format!("certified/{operation}");
        results.add(&name, entries, samples.median(), samples.max(), bytes);
    };
    add("hash_bulk", &each.into_iter().collect(), Some(bytes));
    add("batch", &[dearest].into_iter().collect(), None);

    let inserts = subject.singles(Operation::Insert, next, 1);
    next += 100;
    add("insert", &inserts, None);
    hash(canister);
    for (size, samples) in BATCHES {
        let measure = |_| {
            subject.insert(next, size);
            next += u64::from(size);
            hash(canister).iter().sum::<u64>() / u64::from(size)
        };
        add(
            &format!("hash_{size}"),
            &(0..samples).map(measure).collect(),
            None,
        );
    }

    let proof = |number: u64| {
        let asked = Asked {
            method: "pay_certified".to_owned(),
            arg: ByteBuf::from(candid::encode_one(number).expect("it encodes")),
        };
        let proof: Vec<u64> = canister
            .query(user(1), "prove_certified", (asked,))
            .expect("it is proved");
        proof
    };
    let paid: ByteBuf = canister
        .update(user(1), "pay_certified", (1u64,))
        .expect("it pays");
    assert_eq!(paid.len(), 30);
    hash(canister);
    for (what, number) in [("prove_done", 1u64), ("prove_absent", 2)] {
        for (figure, of) in proof(number).into_iter().zip(["", "_bytes"]) {
            add(
                &format!("{what}{of}"),
                &[figure].into_iter().collect(),
                None,
            );
        }
    }
}
