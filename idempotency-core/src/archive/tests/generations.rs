//! Generations against a list of what was put in; and against memories that are full, damaged, or opened again.

use super::*;
use ic_stable_structures::VectorMemory;
use proptest::prelude::*;
use std::{cell::Cell, rc::Rc};

const AT: u64 = 4_096;

/// Small ones, so that there are several.
const PLAN: Plan = Plan {
    rate: OneIn::new(64),
    first_ids: 100,
    archive_ids: 3_000,
};

fn id(number: u64) -> Id {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
    id
}

fn ids(numbers: std::ops::Range<u64>) -> Vec<Id> {
    numbers.map(id).collect()
}

/// A memory that grows no further than it may.
#[derive(Clone)]
struct Limited {
    memory: VectorMemory,
    most_pages: Rc<Cell<u64>>,
}

impl Limited {
    fn new(most_pages: u64) -> Self {
        let memory = VectorMemory::default();
        memory.grow(1);
        let most_pages = Rc::new(Cell::new(most_pages));
        Self { memory, most_pages }
    }
}

impl Memory for Limited {
    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        match self.size().checked_add(pages) {
            Some(size) if size <= self.most_pages.get() => self.memory.grow(pages),
            _ => -1,
        }
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.memory.read(offset, dst);
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.memory.write(offset, src);
    }
}

/// A memory of any size, of which only the beginning can be written to.
struct Endless {
    beginning: VectorMemory,
    pages: Cell<u64>,
}

impl Memory for Endless {
    fn size(&self) -> u64 {
        self.pages.get()
    }

    fn grow(&self, pages: u64) -> i64 {
        self.pages.replace(self.pages.get() + pages) as i64
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.beginning.read(offset, dst);
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.beginning.write(offset, src);
    }
}

/// One filter is as large as it can be, and there are more of them.
#[test]
fn an_archive_may_be_larger_than_a_filter_can_be() {
    for one_in in [2, 1_024, 65_536] {
        let memory = Endless {
            beginning: memory(),
            pages: Cell::new(1),
        };
        let plan = Plan {
            rate: OneIn::new(one_in),
            first_ids: FIRST_IDS,
            archive_ids: 1 << 37,
        };
        let mut generations = Generations::open(&memory, AT).unwrap();
        let mut held = 0;
        while held < plan.archive_ids {
            generations.reserve(&memory, 0, 1, &plan).unwrap();
            // Each as if it were full.
            let newest = generations.all.last_mut().unwrap();
            newest.count = newest.capacity;
            held += newest.capacity;
        }
        assert!(generations.all().len() < 64, "{one_in}");
        assert!(generations.all().iter().all(|it| it.bytes <= 1 << 34));
        assert!(held < plan.archive_ids / 8 * 9, "{one_in}");
    }
}

fn memory() -> VectorMemory {
    let memory = VectorMemory::default();
    memory.grow(1);
    memory
}

fn hits(generations: &Generations, memory: &impl Memory, id: &Id) -> Vec<u32> {
    generations.may_hold(memory, id)
}

fn put_in(
    generations: &mut Generations,
    memory: &impl Memory,
    archive: u32,
    ids: Vec<Id>,
    plan: &Plan,
) -> Result<(), NoRoom> {
    generations.reserve(memory, archive, ids.len() as u64, plan)?;
    generations.insert(memory, archive, &ids)
}

#[test]
fn generations_grow_until_an_archive_has_what_it_is_meant_for() {
    let memory = memory();
    let mut generations = Generations::open(&memory, AT).unwrap();
    assert!(generations.all().is_empty());
    let mut numbers = 0..;
    for archive in [1, 2, 3] {
        for _ in 0..60 {
            let ids = numbers.by_ref().take(50).map(id).collect();
            put_in(&mut generations, &memory, archive, ids, &PLAN).unwrap();
        }
    }
    let of = |generation: &Generation| (generation.archive, generation.capacity);
    let sizes: Vec<_> = generations.all().iter().map(of).collect();
    let first = [(1, 100), (1, 400), (1, 1_600), (1, 900)];
    assert_eq!(sizes, [&first[..], &[(2, 3_000), (3, 3_000)]].concat());
    assert!(generations.all().iter().all(|it| it.count == it.capacity));
    // One that holds more than it was meant for.
    put_in(
        &mut generations,
        &memory,
        3,
        ids(1 << 20..(1 << 20) + 50),
        &PLAN,
    )
    .unwrap();
    assert_eq!(of(&generations.all()[6]), (3, 375));
    // More at once than a generation has room for.
    put_in(
        &mut generations,
        &memory,
        4,
        ids(1 << 21..(1 << 21) + 5_000),
        &PLAN,
    )
    .unwrap();
    assert_eq!(of(&generations.all()[7]), (4, 5_000));
    assert_eq!(Generations::open(&memory, AT).unwrap(), generations);
    // Archives that hold less than a first generation.
    let plan = Plan {
        archive_ids: 70,
        ..PLAN
    };
    put_in(&mut generations, &memory, 5, vec![id(1)], &plan).unwrap();
    assert_eq!(of(&generations.all()[8]), (5, 70));
}

#[test]
fn the_usual_plan_has_six_generations_for_a_billion_ids() {
    let plan = Plan {
        rate: OneIn::new(1_000),
        first_ids: FIRST_IDS,
        archive_ids: 1_000_000_000,
    };
    let mut generations = Generations { at: 0, all: vec![] };
    let mut capacities = vec![];
    for _ in 0..6 {
        let capacity = generations.next_capacity(0, &plan);
        let bytes = Filter::bytes_for(capacity, plan.rate.bits_of_each()).unwrap();
        let filter = Filter::at(0, bytes).unwrap();
        generations.all.push(Generation {
            archive: 0,
            capacity,
            count: 0,
            offset: 0,
            bytes,
            filter,
        });
        capacities.push(capacity >> 20);
    }
    assert_eq!(capacities, [1, 4, 16, 64, 256, 612]);
    assert_eq!(generations.room(0), plan.archive_ids);
    assert_eq!(generations.next_capacity(1, &plan), plan.archive_ids);
}

/// Sixteen generations, all full.
#[test]
fn all_together_are_wrong_as_seldom_as_promised() {
    const OTHERS: u64 = 300_000;
    let plan = Plan {
        rate: OneIn::new(200),
        first_ids: 100,
        archive_ids: 3_000,
    };
    let memory = memory();
    let mut generations = Generations::open(&memory, AT).unwrap();
    for archive in 0..13 {
        let first = u64::from(archive) * 3_000;
        for first in (first..first + 3_000).step_by(100) {
            let ids = ids(first..first + 100);
            put_in(&mut generations, &memory, archive, ids, &plan).unwrap();
        }
    }
    assert_eq!(generations.all().len(), SHARES as usize);
    assert!(generations.all().iter().all(|it| it.room() == 0));
    let others = (1 << 32..(1 << 32) + OTHERS).map(id);
    let wrong = others.filter(|id| !generations.may_hold(&memory, id).is_empty());
    let (wrong, promised) = (wrong.count() as f64, (OTHERS / 200) as f64);
    assert!(wrong < promised, "{wrong} of {promised}");
    // 200 times 16 is rounded up to 4,096.
    assert!(wrong > 0.6 * promised, "{wrong} of {promised}");
}

#[test]
fn a_memory_that_is_full_is_left_alone() {
    let memory = Limited::new(2);
    let mut generations = Generations::open(&memory, AT).unwrap();
    put_in(&mut generations, &memory, 1, ids(0..90), &PLAN).unwrap();
    assert_eq!(memory.size(), 2);
    let (as_it_was, bytes) = (generations.clone(), memory.memory.borrow().clone());
    // Ten more would fit.
    assert_eq!(generations.reserve(&memory, 1, 11, &PLAN), Err(NoRoom));
    assert_eq!(generations.reserve(&memory, 2, 1, &PLAN), Err(NoRoom));
    assert_eq!(generations.insert(&memory, 1, &ids(90..101)), Err(NoRoom));
    assert_eq!(generations.insert(&memory, 2, &ids(90..91)), Err(NoRoom));
    assert_eq!(
        generations.reserve(&memory, 1, u64::MAX, &PLAN),
        Err(NoRoom)
    );
    assert_eq!(generations, as_it_was);
    assert_eq!(*memory.memory.borrow(), bytes);
    // What is there goes on to serve, and there may be room again.
    put_in(&mut generations, &memory, 1, ids(90..100), &PLAN).unwrap();
    memory.most_pages.set(3);
    put_in(&mut generations, &memory, 2, ids(100..101), &PLAN).unwrap();
    assert_eq!(hits(&generations, &memory, &id(99)), [1]);
    assert_eq!(hits(&generations, &memory, &id(100)), [2]);
}

#[test]
fn there_are_256_generations_at_most() {
    let memory = memory();
    let mut generations = Generations::open(&memory, AT).unwrap();
    let plan = Plan {
        archive_ids: 100,
        ..PLAN
    };
    for archive in 0..256 {
        put_in(&mut generations, &memory, archive, vec![id(7)], &plan).unwrap();
    }
    assert_eq!(generations.reserve(&memory, 256, 1, &plan), Err(NoRoom));
    assert_eq!(generations.reserve(&memory, 0, 99, &plan), Ok(()));
    let archives = hits(&generations, &memory, &id(7));
    assert_eq!(archives, (0..256).rev().collect::<Vec<_>>());
    assert_eq!(Generations::open(&memory, AT).unwrap(), generations);
}

/// An archive is named once, however many of its generations have the id.
#[test]
fn hits_name_an_archive_once() {
    let memory = memory();
    let mut generations = Generations::open(&memory, AT).unwrap();
    for (archive, numbers) in [(5, 0..100), (9, 0..300), (5, 0..300)] {
        put_in(&mut generations, &memory, archive, ids(numbers), &PLAN).unwrap();
    }
    assert_eq!(generations.all().len(), 3);
    assert_eq!(hits(&generations, &memory, &id(50)), [5, 9]);
    assert!(!generations.may_hold(&memory, &id(50)).is_empty());
}

/// The table of a memory that is used by a canister must be read by every later version.
#[test]
fn the_layout_stays_what_it_is() {
    let memory = memory();
    let mut generations = Generations::open(&memory, AT).unwrap();
    put_in(&mut generations, &memory, 0x0102_0304, ids(0..70), &PLAN).unwrap();
    put_in(&mut generations, &memory, 0x0102_0304, ids(70..270), &PLAN).unwrap();
    let mut table = [0; TABLE_BYTES as usize];
    memory.read(AT, &mut table);
    let mut golden = vec![2, 0, 0, 0, 0, 0, 0, 0];
    // 100 ids with a rate of one in 64 × 16, the filter in the second page of the memory.
    golden.extend([4, 3, 2, 1, 0, 0, 0, 0]);
    for number in [100u64, 100, 65_536, 4 * 64] {
        golden.extend(number.to_le_bytes());
    }
    golden.extend([4, 3, 2, 1, 0, 0, 0, 0]);
    for number in [400u64, 170, 2 * 65_536, 13 * 64] {
        golden.extend(number.to_le_bytes());
    }
    assert_eq!(table[..golden.len()], golden);
    assert!(table[golden.len()..].iter().all(|byte| *byte == 0));
    let mut filters = vec![0; 2 * 65_536];
    memory.read(65_536, &mut filters);
    let hash = blake3::hash(&filters).to_hex();
    assert_eq!(hash[..16], *"8ae2209b09bfbe39");
}

#[test]
fn a_damaged_table_is_refused() {
    let memory = memory();
    let mut generations = Generations::open(&memory, AT).unwrap();
    put_in(&mut generations, &memory, 1, ids(0..300), &PLAN).unwrap();
    put_in(&mut generations, &memory, 2, ids(300..310), &PLAN).unwrap();
    let first = AT + COUNT_BYTES;
    let second = first + ENTRY_BYTES;
    let pages = memory.size() * 65_536;
    let damages = [
        (AT, 65),
        (AT, u64::MAX),
        // There is no third one.
        (AT, 3),
        (first, 1 << 32 | 1),
        // Counts more than it is for, and is for more than any filter of its size.
        (first + 16, 301),
        (first + 8, u64::MAX),
        (first + 8, 100_000),
        // In the table, before the one before, at no page, behind the end, beyond all numbers.
        (first + 24, 0),
        (first + 24, AT),
        (second + 24, 65_536),
        (second + 24, 2 * 65_536 + 64),
        (second + 24, pages),
        (second + 24, u64::MAX - 4_095),
        (first + 32, 0),
        (first + 32, 100),
        (second + 32, pages),
        (second + 32, u64::MAX - 63),
    ];
    for (place, damage) in damages {
        let mut before = [0; 8];
        memory.read(place, &mut before);
        memory.write(place, &damage.to_le_bytes());
        let opened = Generations::open(&memory, AT);
        assert_eq!(opened, Err(Damaged), "{damage} at {place}");
        memory.write(place, &before);
    }
    assert_eq!(Generations::open(&memory, AT), Ok(generations));
    assert_eq!(Generations::open(&memory, pages - 8), Err(Damaged));
    assert_eq!(Generations::open(&memory, u64::MAX), Err(Damaged));
    assert_eq!(Generations::open(&VectorMemory::default(), 0), Err(Damaged));
}

#[test]
fn the_documented_bytes_are_right() {
    let documented = [
        (16, 1.5),
        (64, 2.0),
        (256, 2.5),
        (1_024, 3.2),
        (4_096, 4.1),
        (65_536, 6.6),
    ];
    for (number, bytes) in documented {
        let bits = OneIn::new(number).bits_of_each();
        let each = Filter::bytes_for(1_000_000, bits).unwrap() as f64 / 1e6;
        assert!((each - bytes).abs() < 0.05, "{number}: {each}");
        assert!(OneIn::new(number - 1).bits_of_each() == bits);
        assert!(OneIn::new(number + 1).bits_of_each() == bits + 1 || number == 65_536);
    }
    assert_eq!(OneIn::new(0).number(), 2);
    assert_eq!(OneIn::new(u32::MAX), OneIn::RAREST);
}

proptest! {
    #[test]
    fn no_id_that_was_put_in_is_denied(
        chunks in prop::collection::vec((0u32..4, 0u64..600, 0u64..3_000, any::<bool>()), 1..20),
        rate in 0u32..100_000,
    ) {
        let plan = Plan { rate: OneIn::new(rate), ..PLAN };
        let memory = Limited::new(10);
        let mut generations = Generations::open(&memory, AT).unwrap();
        let mut put = vec![];
        for (archive, count, first, is_opened_again) in chunks {
            let chunk = ids(first..first + count);
            if put_in(&mut generations, &memory, archive, chunk.clone(), &plan).is_ok() {
                put.extend(chunk.into_iter().map(|id| (archive, id)));
            }
            if is_opened_again {
                let opened = Generations::open(&memory, AT).unwrap();
                prop_assert_eq!(&opened, &generations);
                generations = opened;
            }
        }
        for (archive, id) in put {
            prop_assert!(hits(&generations, &memory, &id).contains(&archive));
        }
    }

    /// Whatever the table says: it is refused, or works without a panic.
    #[test]
    fn any_table_is_opened_without_a_panic(
        entries in prop::collection::vec(
            (0u32..3, prop_oneof![0u64..2_000, any::<u64>()], prop_oneof![0u64..2_000, any::<u64>()], 1u64..5, 0u64..40),
            0..6,
        ),
        number in prop_oneof![0u64..7, any::<u64>()],
    ) {
        let memory = Limited::new(8);
        memory.grow(3);
        memory.write(AT, &number.to_le_bytes());
        for (place, (archive, capacity, count, page, blocks)) in (0..).zip(entries) {
            let mut entry = vec![];
            for number in [u64::from(archive), capacity, count, page * 65_536, blocks * 64] {
                entry.extend(number.to_le_bytes());
            }
            memory.write(AT + COUNT_BYTES + place * ENTRY_BYTES, &entry);
        }
        if let Ok(mut generations) = Generations::open(&memory, AT) {
            for archive in 0..3 {
                let is_in = put_in(&mut generations, &memory, archive, ids(0..10), &PLAN).is_ok();
                prop_assert!(!is_in || hits(&generations, &memory, &id(3)).contains(&archive));
            }
            prop_assert_eq!(Generations::open(&memory, AT), Ok(generations));
        }
    }
}
