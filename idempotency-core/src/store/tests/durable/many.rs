//! Very many requests that have not ended: what each message does for them is bounded, and none is lost.

use super::*;

const MANY: u64 = 20_000;

/// Reads and writes that one message may need, however many requests there are.
const FEW: u64 = 4_000;

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::ZERO)
        .max_reply_bytes(64)
        .max_journal_bytes(2_048)
        .capacity_bytes(1 << 30)
}

fn argument(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat((number % 20) as usize)
}

/// So many that are parked, but for each thousandth, which goes on.
fn parked(memory: &TestMemory) -> Store<TestMemory> {
    let store = open(memory, policy(), START);
    for number in 0..MANY {
        memory.allow(FEW);
        let attempt = begin(&store, &numbered(number), &argument(number), START);
        store.append_step(attempt, &number.to_le_bytes()).unwrap();
        match number % 1_000 {
            0 => store.sleep(attempt, at(START + number)).unwrap(),
            _ => store.park(attempt, "nobody knows").unwrap(),
        }
    }
    store
}

fn check_all(store: &Store<TestMemory>) {
    let mut after = 0;
    let mut count = 0;
    loop {
        let listed = store.unknown(after, 1_000).unwrap();
        let Some(last) = listed.last() else {
            break;
        };
        after = last.number;
        count += listed.len() as u64;
        assert!(
            listed
                .iter()
                .all(|it| it.reason.as_deref() == Some("nobody knows"))
        );
    }
    assert_eq!(count, MANY - MANY / 1_000);
    assert_eq!(store.stats().unknown, count);
    for number in (0..MANY).step_by(37) {
        let attempt = {
            let mut inner = store.inner.borrow_mut();
            let (_, record) = inner.find(&key(number)).unwrap().unwrap();
            record.pending().unwrap().attempt
        };
        let resumed = known(store, attempt);
        assert_eq!(resumed.kept, Some((caller(), argument(number))));
        assert_eq!(resumed.steps, [number.to_le_bytes()]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn what_a_message_does_for_them_is_bounded_and_none_is_lost() {
    let memory = TestMemory::new(u64::MAX);
    drop(parked(&memory));
    // Cells lie side by side: a heap reads them by the page.
    memory.allow(FEW);
    let store = open(&memory, policy(), START);
    memory.allow(u64::MAX);
    check_all(&store);
    let now = START + PAST;
    let mut moved = 0;
    for number in MANY.. {
        memory.allow(FEW);
        execute(&store, &numbered(number), now, b"new");
        moved += 8;
        if number == MANY + 100 {
            break;
        }
    }
    let oldest = store
        .inner
        .borrow()
        .requests
        .oldest_number(store.inner.borrow().header());
    let left = || store.inner.borrow().open.durable_in(oldest).count() as u64;
    assert_eq!(left(), MANY - moved);
    // A timer moves more of them at a time.
    let mut runs = 0;
    loop {
        memory.allow(256 * 40);
        if store.evict(at(now), u32::MAX).unwrap() > 0 {
            break;
        }
        runs += 1;
        assert!(runs <= MANY / 256 + 1, "there is no end to it");
    }
    memory.allow(u64::MAX);
    check_all(&store);
    memory.allow(FEW);
    let due = store.take_due(at(now + MANY), 100).unwrap();
    assert_eq!(due.len() as u64, MANY / 1_000);
    let store = open(&memory, policy(), now);
    memory.allow(u64::MAX);
    check_all(&store);
}

/// Their partition is forgotten as a whole: each costs a cell.
#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn what_is_not_durable_and_unknown_is_forgotten_with_its_partition() {
    let memory = TestMemory::new(u64::MAX);
    let store = open(&memory, policy(), START);
    for number in 0..MANY {
        let ticket = admitted(&store, &numbered(number), START);
        let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
        store.interrupt(&ticket, attempt, at(START)).unwrap();
    }
    assert_eq!(store.stats().unknown, MANY);
    let store = open(&memory, policy(), START);
    memory.allow(MANY + FEW);
    assert_eq!(store.evict(at(START + PAST), 1), Ok(1));
    let stats = store.stats();
    assert_eq!((stats.unknown, stats.entries, stats.bytes), (0, 0, 0));
    let store = open(&memory, policy(), START);
    assert_eq!(store.stats().unknown, 0);
}
