//! Memories with requests that have not ended that something else has written to: nothing panics, and everything comes to an end.

use super::*;
use crate::store::tests::harness::memory::PAGE_BYTES;
use ic_stable_structures::Memory;
use proptest::prelude::*;

const MOST_ACCESSES: u64 = 400_000;

fn lived(memory: &TestMemory) -> Vec<Attempt> {
    let store = open(memory, policy().quota(100, 1 << 20), START);
    (0..12)
        .map(|number| {
            let request = Request {
                scope: Some(key(1_000)),
                ..numbered(number)
            };
            let attempt = begin(&store, &request, &[number as u8; 300], START);
            for step in 0..number {
                store.append_step(attempt, &[step as u8; 200]).unwrap();
            }
            match number % 4 {
                0 => store.park(attempt, "why").unwrap(),
                1 => store.sleep(attempt, at(START + number)).unwrap(),
                2 => store.cut_off(attempt, at(START)).unwrap(),
                _ => {}
            }
            attempt
        })
        .collect()
}

/// Everything that can be done, whatever comes of it.
fn use_all(store: &Store<TestMemory>, attempts: &[Attempt]) {
    let _ = store.unknown(0, 100);
    store.stats();
    for (number, attempt) in (0..).zip(attempts) {
        let _ = store.go_on(*attempt);
        let _ = store.acquire_unknown(&key(number));
    }
    let due = store.take_due(at(START + 100 * SECOND), 20);
    let mut all: Vec<_> = due
        .unwrap_or_default()
        .into_iter()
        .map(|(it, _)| it)
        .collect();
    all.extend_from_slice(attempts);
    for (round, attempt) in all.into_iter().enumerate() {
        let attempt = store.go_on(attempt).ok().flatten().unwrap_or(attempt);
        let _ = store.start(attempt);
        let _ = store.append_step(attempt, &[1; 250]);
        match round % 4 {
            0 => drop(store.restart(attempt, at(START))),
            1 => drop(store.park(attempt, "again")),
            2 => drop(store.cut_off(attempt, at(START))),
            _ => {
                if let Ok(Some(resumed)) = store.resumed(attempt) {
                    let _ = store.complete(
                        &resumed.ticket,
                        attempt,
                        Some(Reply::first(&[1; 100])),
                        at(START),
                    );
                }
            }
        }
    }
    for window in 1..4 {
        let now = at(START + window * PAST);
        let _ = store.evict(now, u32::MAX);
        let _ = admission::admit(store, &numbered(50), now);
    }
    for number in 0..12 {
        let settlement = match number % 2 {
            0 => Settlement::Done(vec![1; 90]),
            _ => Settlement::NotExecuted,
        };
        let _ = store.resolve(&key(number), &settlement, at(START + 4 * PAST));
    }
}

/// Where bytes are changed: in the header's words for cells, in texts, or where there are any in the segments.
fn patches() -> impl Strategy<Value = Vec<(u8, u16, [u8; 8], u8)>> {
    prop::collection::vec(any::<(u8, u16, [u8; 8], u8)>(), 1..12)
}

fn apply(memory: &TestMemory, patches: &[(u8, u16, [u8; 8], u8)]) {
    memory.edit(|bytes| {
        // All that is in use.
        let end = bytes.len().min(8 * PAGE_BYTES);
        let used: Vec<_> = (2 * PAGE_BYTES..end)
            .step_by(4)
            .filter(|at| bytes[*at..*at + 4] != [0; 4])
            .collect();
        for (kind, nth, value, length) in patches {
            let nth = usize::from(*nth);
            let place = match kind % 8 {
                0 => 96 + nth % 16,
                1 => 36_864 + nth % 20,
                2 => 4_096 + nth % 128,
                _ => used[nth % used.len()] + usize::from(kind / 64),
            };
            // Some lead to a row.
            let other = used[usize::from(value[0]) * 7 % used.len()] as u32;
            let value = match kind % 3 {
                0 => [&other.to_le_bytes()[..], &[0, 0, 0, 0]].concat(),
                _ => value.to_vec(),
            };
            let length = 1 + usize::from(*length) % 8;
            let length = length.min(bytes.len() - place);
            bytes[place..place + length].copy_from_slice(&value[..length]);
        }
    });
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_damaged_between_two_heaps_is_refused_or_works(patches in patches()) {
        let memory = TestMemory::new(1_000);
        let attempts = lived(&memory);
        apply(&memory, &patches);
        memory.allow(MOST_ACCESSES);
        let opened = Store::open(memory.clone(), policy().quota(100, 1 << 20), at(START));
        if let Ok(store) = opened {
            use_all(&store, &attempts);
        }
    }

    #[test]
    fn what_is_damaged_in_use_goes_on(patches in patches()) {
        let memory = TestMemory::new(1_000);
        let attempts = lived(&memory);
        let store = open(&memory, policy().quota(100, 1 << 20), START);
        apply(&memory, &patches);
        memory.allow(MOST_ACCESSES);
        use_all(&store, &attempts);
    }
}

/// It would be read for ever, or into all of the memory.
#[test]
fn a_journal_that_goes_in_a_circle_is_damaged() {
    for length in [1, 2, 3, 7, 40] {
        let memory = TestMemory::new(1_000);
        let store = open(&memory, policy().max_journal_bytes(1 << 20), START);
        let attempt = begin(&store, &numbered(1), b"x", START);
        let mut first = 0;
        for step in 0..=length {
            store.append_step(attempt, &[step; 20]).unwrap();
            if step == 1 {
                first = store.inner.borrow().open.get(attempt).unwrap().journal;
            }
        }
        let last = store.inner.borrow().open.get(attempt).unwrap().journal;
        memory.write(first + 3, &last.to_le_bytes()[..5]);
        memory.allow(1_000);
        let mut inner = store.inner.borrow_mut();
        assert!(inner.entries(last).is_err(), "{length}");
        assert!(inner.end_of_origin(last).is_err(), "{length}");
    }
}
