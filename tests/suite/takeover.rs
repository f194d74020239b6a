//! A canister with a deduplication of its own gets the attribute, and hands over what it remembers.

use crate::common::{Fixture, HOUR, with_canister};
use candid::{CandidType, Principal};
use integration_tests::{TEST_CANISTER, user};
use serde::Deserialize;

#[derive(CandidType, Clone, Debug)]
struct TransferArg {
    to: Principal,
    amount: u64,
    created_at_time: Option<u64>,
}

#[derive(CandidType, Debug, Deserialize, PartialEq)]
enum TransferError {
    Duplicate { duplicate_of: u64 },
    Refused(Refusal),
}

#[derive(CandidType, Debug, Deserialize, PartialEq)]
enum Refusal {
    TooOld,
}

#[derive(CandidType, Debug, Deserialize)]
struct Imported {
    added: u64,
    known: u64,
    expired: u64,
}

impl Imported {
    fn counts(&self) -> [u64; 3] {
        [self.added, self.known, self.expired]
    }
}

impl Fixture<'_> {
    fn transfer(&self, method: &str, from: u8, arg: &TransferArg) -> Result<u64, TransferError> {
        self.canister
            .update(user(from), method, (arg,))
            .expect("the method answers")
    }

    /// What became of the requests, whether there are more, and the instructions that it took.
    fn import(&self, most: u64) -> (Imported, bool, u64) {
        let arg = candid::encode_one(most).expect("it encodes");
        let reply = self
            .canister
            .update_raw(user(0), "import_transfers", arg)
            .expect("it is imported");
        candid::decode_args(&reply).expect("three values")
    }

    fn blocks(&self) -> u64 {
        self.canister
            .query(user(0), "blocks", ())
            .expect("blocks answers")
    }
}

fn duplicate(duplicate_of: u64) -> Result<u64, TransferError> {
    Err(TransferError::Duplicate { duplicate_of })
}

#[test]
fn retries_from_before_the_upgrade_get_their_first_outcome() {
    with_canister(|it| {
        let mut made = vec![];
        for number in 0..24 {
            let arg = TransferArg {
                to: user(9),
                amount: number,
                created_at_time: Some(it.now()),
            };
            let from = 1 + (number % 3) as u8;
            assert_eq!(it.transfer("transfer_before", from, &arg), Ok(number));
            made.push((from, arg));
            it.wait(HOUR);
        }
        let all_are_duplicates = |method: &str| {
            for (number, (from, arg)) in (0..).zip(&made) {
                assert_eq!(it.transfer(method, *from, arg), duplicate(number));
            }
        };
        let upgrade = || it.canister.upgrade(TEST_CANISTER, ()).expect("it upgrades");
        all_are_duplicates("transfer_before");

        upgrade();
        all_are_duplicates("transfer_after");
        let (imported, has_more, _) = it.import(10);
        assert_eq!((imported.counts(), has_more), ([10, 0, 0], true));
        all_are_duplicates("transfer_after");
        let meanwhile = TransferArg {
            to: user(9),
            amount: 7,
            created_at_time: Some(it.now()),
        };
        assert_eq!(it.transfer("transfer_after", 1, &meanwhile), Ok(24));

        // The import begins again, and knows what it had imported.
        upgrade();
        let (imported, has_more, _) = it.import(15);
        assert_eq!((imported.counts(), has_more), ([5, 10, 0], true));
        all_are_duplicates("transfer_after");
        let (imported, has_more, _) = it.import(15);
        assert_eq!((imported.counts(), has_more), ([9, 1, 0], false));

        it.canister
            .update::<()>(user(0), "forget_what_was_seen", ())
            .expect("it forgets");
        all_are_duplicates("transfer_after");
        assert_eq!(it.transfer("transfer_after", 1, &meanwhile), duplicate(24));
        assert_eq!(it.blocks(), 25, "no transfer was made twice");

        // Another one's, and another amount, are new.
        let (_, arg) = &made[20];
        assert_eq!(it.transfer("transfer_after", 9, arg), Ok(25));

        it.wait(25 * HOUR);
        it.run_timers();
        for (from, arg) in &made {
            let answer = it.transfer("transfer_after", *from, arg);
            assert_eq!(answer, Err(TransferError::Refused(Refusal::TooOld)));
        }
        assert_eq!(it.blocks(), 26);
    });
}

/// They say 60,000 instructions.
#[test]
fn an_imported_request_takes_less_than_the_docs_say() {
    with_canister(|it| {
        const COUNT: u64 = 5_000;
        it.canister
            .update::<()>(user(1), "transfers_before", (COUNT,))
            .expect("they are made");
        let (imported, _, instructions) = it.import(COUNT);
        assert_eq!(imported.counts(), [COUNT, 0, 0]);
        let each = instructions / COUNT;
        assert!(each < 65_000, "{each} instructions");
    });
}
