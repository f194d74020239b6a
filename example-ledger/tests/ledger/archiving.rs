//! Handing blocks to archives: whatever is lost in between, no block is missing and none is doubled.

use std::collections::BTreeMap;

use crate::support::*;
use candid::Principal;
use example_ledger::archiving::{Chunk, Settled, Trouble};
use idempotency_archive::{
    icrc3::{GetBlocksArg, Value},
    wire::{AppendBlocks, AppendedBlocks},
};
use proptest::prelude::*;

/// The plainest archive: it takes blocks that follow those it has, and knows those that it has.
#[derive(Default)]
struct Archive {
    first: u64,
    blocks: Vec<Vec<u8>>,
    /// It takes no more than so many.
    room: usize,
}

impl Archive {
    fn next(&self) -> u64 {
        self.first + self.blocks.len() as u64
    }

    fn append(&mut self, append: &AppendBlocks) -> AppendedBlocks {
        if self.blocks.is_empty() {
            self.first = append.from;
        }
        let next = self.next();
        if append.from > next || append.from < self.first {
            return AppendedBlocks::OutOfPlace(next);
        }
        for (block, index) in append.blocks.iter().zip(append.from..next) {
            if self.blocks[(index - self.first) as usize] != **block {
                return AppendedBlocks::Different(index);
            }
        }
        let new = &append.blocks[append.blocks.len().min((next - append.from) as usize)..];
        if self.blocks.len() + new.len() > self.room {
            return AppendedBlocks::Full(next);
        }
        self.blocks.extend(new.iter().map(|block| block.to_vec()));
        AppendedBlocks::Taken(self.next())
    }

    fn get(&self, index: u64) -> Value {
        Value::from_bytes(&self.blocks[(index - self.first) as usize]).unwrap()
    }
}

const ARCHIVES: [u8; 3] = [7, 8, 9];

#[derive(Clone, Copy, Debug)]
enum Step {
    Transfer(u8),
    /// A chunk is sent, unless one is on its way in this heap.
    Send,
    /// The oldest message that is on its way arrives.
    Arrive,
    /// The oldest answer that is on its way arrives, or is lost.
    Answer {
        is_lost: bool,
    },
    /// The ledger no longer waits for an answer, which may come all the same.
    GiveUp,
    Upgrade,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_u8).prop_map(Step::Transfer),
        4 => Just(Step::Send),
        4 => Just(Step::Arrive),
        4 => any::<bool>().prop_map(|is_lost| Step::Answer { is_lost }),
        2 => Just(Step::GiveUp),
        1 => Just(Step::Upgrade),
    ]
}

/// Every block in its place, in the ledger or where it says.
fn assert_complete(
    ledger: &TestLedger,
    archives: &BTreeMap<Principal, Archive>,
    expected: &[Value],
) {
    assert_eq!(ledger.log().len(), expected.len() as u64);
    for (index, block) in (0..).zip(expected) {
        let arg = GetBlocksArg {
            start: index.into(),
            length: 1_u8.into(),
        };
        let result = ledger.get_blocks(&[arg]);
        let found = match (&result.blocks[..], &result.archived_blocks[..]) {
            ([one], []) => one.block.clone(),
            ([], [archived]) => archives[&archived.callback.0.principal].get(index),
            other => panic!("block {index}: {other:?}"),
        };
        assert_eq!(found, *block);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_block_is_lost_or_doubled(
        steps in prop::collection::vec(step(), 1..120),
        keep in 0..6_u64,
        rooms in prop::array::uniform3(prop_oneof![Just(usize::MAX), 0..20_usize]),
    ) {
        let memories = memories();
        let mut ledger = ledger_in(&memories, &[]);
        let names = ARCHIVES.map(principal);
        let mut archives: BTreeMap<_, _> = names
            .into_iter()
            .zip(rooms)
            .map(|(name, room)| (name, Archive { room, ..Archive::default() }))
            .collect();
        let mut expected = vec![];
        let mut is_busy = false;
        let mut full = vec![];
        let (mut messages, mut answers) = (vec![], vec![]);
        let drain = (0..30).flat_map(|_| [Step::GiveUp, Step::Send, Step::Arrive, Step::Answer { is_lost: false }]);
        for step in steps.into_iter().chain(drain) {
            match step {
                Step::Transfer(count) => for _ in 0..count {
                    let index = ledger.transfer(NOW, principal(MINTER), send(BOB, 1)).unwrap();
                    expected.push(ledger.log().get(index).unwrap());
                },
                Step::Send if is_busy => {}
                Step::Send => match ledger.next_chunk(keep, &names, &full) {
                    Ok(Some(chunk)) => {
                        is_busy = true;
                        messages.push(chunk);
                    }
                    Ok(None) => {}
                    Err(trouble) => prop_assert_eq!(trouble, Trouble::NoArchive),
                },
                Step::Arrive => if !messages.is_empty() {
                    let chunk: Chunk = messages.remove(0);
                    let answer = archives.get_mut(&chunk.archive).unwrap().append(&chunk.append);
                    answers.push((chunk, answer));
                },
                Step::Answer { is_lost } => if !answers.is_empty() {
                    let (chunk, answer) = answers.remove(0);
                    is_busy = false;
                    let answer = if is_lost { Err("lost".to_owned()) } else { Ok(answer) };
                    match ledger.settle(&chunk, answer) {
                        Ok(Settled::Confirmed) => prop_assert!(!is_lost),
                        Ok(Settled::Full) => full.push(chunk.archive),
                        Err(trouble) => prop_assert!(is_lost, "{}", trouble),
                    }
                },
                Step::GiveUp => is_busy = false,
                Step::Upgrade => {
                    ledger = open(&memories);
                    (is_busy, full) = (false, vec![]);
                    answers.clear();
                }
            }
            if !matches!(step, Step::Send | Step::Arrive | Step::GiveUp) {
                assert_complete(&ledger, &archives, &expected);
            }
            let kept = ledger.log().len() - ledger.log().first();
            prop_assert!(kept >= keep.min(ledger.log().len()));
        }
        // At last the ledger has no more than it is to keep, unless no archive has room.
        let rest = ledger.next_chunk(keep, &names, &full);
        prop_assert!(matches!(rest, Ok(None) | Err(Trouble::NoArchive)), "{:?}", rest);
    }
}

fn with_blocks(count: u64) -> TestLedger {
    let mut ledger = ledger(&[]);
    for _ in 0..count {
        ledger
            .transfer(NOW, principal(MINTER), send(BOB, 1))
            .unwrap();
    }
    ledger
}

fn chunk_of(ledger: &TestLedger, keep: u64) -> Chunk {
    let chunk = ledger.next_chunk(keep, &ARCHIVES.map(principal), &[]);
    chunk.unwrap().unwrap()
}

#[test]
fn a_chunk_has_a_bound() {
    let ledger = with_blocks(5_010);
    let chunk = chunk_of(&ledger, 10);
    assert_eq!((chunk.append.from, chunk.append.blocks.len()), (0, 2_000));
    assert_eq!(chunk.archive, principal(7));
    let mut ledger = ledger;
    ledger
        .settle(&chunk, Ok(AppendedBlocks::Taken(2_000)))
        .unwrap();
    ledger
        .settle(&chunk_of(&ledger, 10), Ok(AppendedBlocks::Taken(4_000)))
        .unwrap();
    let last = chunk_of(&ledger, 10);
    assert_eq!((last.append.from, last.append.blocks.len()), (4_000, 1_000));
    ledger
        .settle(&last, Ok(AppendedBlocks::Taken(5_000)))
        .unwrap();
    assert_eq!(ledger.next_chunk(10, &[], &[]), Ok(None));
    assert_eq!(ledger.next_chunk(9, &[], &[]), Err(Trouble::NoArchive));
}

/// What an archive says that has lost blocks, or has those of another ledger, is no confirmation.
#[test]
fn a_wrong_archive_gets_nothing_confirmed() {
    let mut ledger = with_blocks(20);
    let chunk = chunk_of(&ledger, 10);
    for answer in [
        AppendedBlocks::Taken(9),
        AppendedBlocks::OutOfPlace(0),
        AppendedBlocks::OutOfPlace(100),
        AppendedBlocks::Different(3),
        AppendedBlocks::Malformed("no block".to_owned()),
    ] {
        let settled = ledger.settle(&chunk, Ok(answer.clone()));
        assert!(
            matches!(settled, Err(Trouble::Inconsistent { .. })),
            "{answer:?}: {settled:?}"
        );
    }
    let unreachable = ledger.settle(&chunk, Err("stopped".to_owned()));
    assert!(matches!(unreachable, Err(Trouble::Unreachable { .. })));
    assert_eq!(ledger.log().first(), 0);
    assert_eq!(chunk_of(&ledger, 10), chunk);
}
