//! A hundred thousand parked requests: nothing of them is lost, and nothing costs more than a message may.

use crate::{
    common::Refusal,
    durable::{Answer, Failure, World, is_unknown, with_world},
};
use candid::{CandidType, utils::ArgumentEncoder};
use integration_tests::user;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// As many are parked. The store lets one scope take one more.
const MANY: u64 = 100_000;

/// As many as it has room for: those, one of a lane, and some of another user.
const CAPACITY: u64 = MANY + 1 + OTHERS;
const OTHERS: u64 = 9;

const MIDDLE: u64 = MANY / 2;

/// How many are sent at a time.
const STEP: usize = 5_000;

/// How many an operator asks for at a time.
const PAGE: u64 = 5_000;

/// Instructions for each request that is parked, when the store is opened after an upgrade, and when it is listed. The IC grants 300 billion
/// to an upgrade, and 5 billion to a query.
const MOST_FOR_ONE_OPENED: u64 = 8_000;
const MOST_FOR_ONE_LISTED: u64 = 12_000;

const HOUR: Duration = Duration::from_secs(3_600);

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
struct Listed {
    number: u64,
    identity: ByteBuf,
    endpoint: String,
    since: u64,
    reason: Option<String>,
}

#[derive(CandidType, Debug, Deserialize, PartialEq)]
enum Resolved {
    Settled { since: u64 },
    Running { since: u64 },
    HasEnded { since: u64 },
    NotKnown,
}

#[derive(CandidType, Debug, Deserialize)]
struct Stats {
    entries: u64,
    unknown: u64,
    bytes: u64,
    capacity_bytes: u64,
}

impl World<'_> {
    /// The canister's own requests; how many of the answers were which.
    fn send_many(&self, from: u64, until: u64) -> BTreeMap<String, u64> {
        (self.canister)
            .update(user(0), "send_many", (from, until))
            .expect("it answers")
    }

    fn undecided(&self, caller: u8, method: &str, key: u64) -> Answer {
        (self.canister)
            .update(user(caller), method, (key,))
            .expect("it answers")
    }

    fn settled(&self, method: &str, args: impl ArgumentEncoder) -> bool {
        let settled: Result<Resolved, Refusal> = (self.canister)
            .update(user(0), method, args)
            .expect("it answers");
        matches!(settled, Ok(Resolved::Settled { .. }))
    }

    /// All that is unknown, page by page, and the instructions of the dearest page.
    fn list(&self) -> (Vec<Listed>, u64) {
        let (mut all, mut most) = (vec![], 0);
        loop {
            let after = all.last().map_or(0, |last: &Listed| last.number);
            let page = (self.canister)
                .query_raw(user(0), "unknown_of_many", (after, PAGE))
                .expect("it answers");
            let (page, instructions): (Vec<Listed>, u64) =
                candid::decode_args(&page).expect("a page, and what it cost");
            most = most.max(instructions);
            if page.is_empty() {
                return (all, most);
            }
            all.extend(page);
        }
    }

    fn stats_of_many(&self) -> Stats {
        (self.canister)
            .query(user(0), "stats_of_many", ())
            .expect("it answers")
    }

    fn post_upgrade_instructions(&self) -> u64 {
        (self.canister)
            .query(user(0), "post_upgrade_instructions", ())
            .expect("it answers")
    }
}

/// How many have which reason.
fn reasons(all: &[Listed]) -> BTreeMap<String, u64> {
    let mut reasons: BTreeMap<_, u64> = BTreeMap::new();
    for it in all {
        *reasons
            .entry(it.reason.clone().expect("a reason"))
            .or_default() += 1;
    }
    reasons
}

fn counts(name: &str, count: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(name.to_owned(), count)])
}

fn refusal(answer: &Answer) -> Option<&Refusal> {
    match answer {
        Err(Failure::Idempotency(refusal)) => Some(refusal),
        _ => None,
    }
}

/// Shows G6, G13.
#[test]
fn a_hundred_thousand_parked_requests_are_kept_listed_and_settled() {
    with_world(|it| {
        it.upgrade();
        let without = it.post_upgrade_instructions();

        // A strict lane that waits for its first number, and very many of one scope.
        assert!(is_unknown(&it.undecided(2, "undecided_in_order", 0)));
        for from in (0..MANY).step_by(STEP) {
            let parked = it.send_many(from, from + STEP as u64);
            assert_eq!(parked, counts("OutcomeUnknown", STEP as u64), "{from}");
        }
        // One in the midst did nothing, and is sent again.
        assert!(it.settled("settle_undecided", (MIDDLE, None::<String>)));
        let again = it.send_many(MIDDLE, MIDDLE + 1);
        assert_eq!(again, counts("OutcomeUnknown", 1));

        // Whoever is over his quota is told so, and so is whoever finds the store full. What is there is answered all the same.
        assert_eq!(it.send_many(MANY, MANY + 3), counts("QuotaExceeded", 3));
        for key in 1..=OTHERS {
            assert!(is_unknown(&it.undecided(1, "undecided", key)), "{key}");
        }
        let full = it.undecided(1, "undecided", OTHERS + 1);
        assert!(
            matches!(refusal(&full), Some(Refusal::Full { .. })),
            "{full:?}"
        );
        let stats = it.stats_of_many();
        assert_eq!((stats.entries, stats.unknown), (CAPACITY, CAPACITY));
        assert!(stats.bytes <= stats.capacity_bytes, "{stats:?}");
        assert_eq!(it.send_many(0, 1_000), counts("OutcomeUnknown", 1_000));

        // Each is listed once, and an upgrade changes nothing.
        let (before, _) = it.list();
        let numbers: BTreeSet<_> = before.iter().map(|it| it.number).collect();
        let identities: BTreeSet<_> = before.iter().map(|it| &it.identity).collect();
        let all = CAPACITY as usize;
        assert_eq!(
            (before.len(), numbers.len(), identities.len()),
            (all, all, all)
        );
        let mut expected: BTreeMap<_, _> = (0..MANY).map(|key| (reason(key), 1)).collect();
        for key in 0..=OTHERS {
            expected.insert(reason(key), 2);
        }
        assert!(reasons(&before) == expected, "another list of requests");
        it.upgrade();
        let upgrade = it.post_upgrade_instructions();
        let (listed, page) = it.list();
        assert!(listed == before, "an upgrade changes the list");
        println!(
            "instructions: post_upgrade {upgrade}, {without} without requests; a page of {PAGE}: {page}"
        );
        assert!(
            upgrade - without <= MOST_FOR_ONE_OPENED * CAPACITY,
            "{upgrade}"
        );
        assert!(page <= MOST_FOR_ONE_LISTED * PAGE, "{page}");

        // Nothing goes on with them: no message is executed, each of which costs more than the storage of some seconds.
        let ((), charged) = it.canister.cycles_charged(|| it.rounds(20));
        assert!(charged < 5_000_000, "{charged} cycles");

        // The first one is settled, and the last; then there is room for the lane.
        let settled = it.settled("settle_undecided", (0u64, Some("by hand")));
        assert!(settled && it.send_many(0, 1) == counts("by hand", 1));
        let next = it.undecided(2, "undecided_in_order", 1);
        let gap = Refusal::SequenceGap { expected: 0 };
        assert_eq!(refusal(&next), Some(&gap));
        let number = |of: &Listed| (of.number, None::<String>);
        assert!(it.settled("settle_listed_undecided", number(&listed[0])));
        assert!(it.settled("settle_listed_undecided", number(&listed[all - 1])));
        assert!(
            is_unknown(&it.undecided(2, "undecided_in_order", 0)),
            "it runs"
        );
        let again = it.undecided(1, "undecided", OTHERS);
        assert!(is_unknown(&again), "it runs: {again:?}");
        let (listed, _) = it.list();
        assert_eq!(listed.len(), all - 1);

        // After the window they are kept for another one, a bounded number in a message; what has ended is forgotten.
        it.replica.advance_time(HOUR + HOUR / 10);
        let mut rounds = 0;
        while it.stats_of_many().entries == CAPACITY {
            it.rounds(1);
            rounds += 1;
            assert!(rounds < 5_000, "there is no end to it");
        }
        it.rounds(10);
        let (kept, _) = it.list();
        assert!(kept == listed, "some were lost");
        assert_eq!(it.stats_of_many().entries, CAPACITY - 1);
        assert_eq!(it.send_many(1, 1_000), counts("OutcomeUnknown", 999));
        assert!(it.settled("settle_undecided", (MANY - 1, Some("late"))));
        assert_eq!(it.send_many(MANY - 1, MANY), counts("late", 1));
    });
}

fn reason(key: u64) -> String {
    format!("nobody knows of {key}")
}
