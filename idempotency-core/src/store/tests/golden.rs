//! Golden dumps: the memory of a store as each released layout wrote it, opened and looked through by today's code.
//!
//! `layouts/2.hex` and `3.hex` are the memories that layout versions 2 and 3 made of [`story`], and `layouts/story.txt` is what the store says
//! of these. `layouts/3-open.hex` and `3-open.txt` are the same for version 3 with feature 0, and [`open_requests`] after it;
//! `3-alias.hex` and `3-alias.txt` with feature 1, too, and [`aliased_requests`] and [`replies_for_retries`] after that.
//! Whoever changes the layout changes [`TODAY`] and writes the new dump once, by hand:
//!
//! ```text
//! UPDATE_LAYOUT=1 cargo test -p idempotency-core --lib store::tests::golden
//! ```

mod story;

use super::harness::{TestMemory, memory::PAGE_BYTES};
use crate::{
    admission::{self, Decision},
    identity::{EarlyName, Identity},
    store::{Attempt, Lookup, Record, Reply, Resolved, Settlement, State, Store},
    table::dump,
    time::Timestamp,
};
use std::{fmt::Write as _, fs, path::PathBuf};
use story::{
    END, HOUR, KEYS, LANES, aliased_requests, at, execute, key, lane, numbered, open_requests,
    replies_for_retries, reply, request, roomy, scope, story,
};

/// Memories, and what is said of them.
const DUMPS: [[&str; 2]; 4] = [
    ["2.hex", "story.txt"],
    ["3.hex", "story.txt"],
    ["3-open.hex", "3-open.txt"],
    TODAY,
];

/// What this code writes.
const TODAY: [&str; 2] = ["3-alias.hex", "3-alias.txt"];

/// What a store says of all that the story is about.
fn answers(store: &Store<TestMemory>) -> String {
    let mut text = String::new();
    let stats = store.stats();
    writeln!(
        text,
        "{} requests, {} bytes, {} counters, first expiry {:?}, floor {}, sequence floor {}",
        stats.entries,
        stats.bytes,
        stats.counters,
        stats.oldest_expiry.map(Timestamp::as_nanos),
        store.floor(Timestamp::from_nanos(u64::MAX)).as_nanos(),
        store.inner.borrow().sequence_floor()
    )
    .unwrap();
    for number in 0..KEYS {
        answer(&mut text, store, &format!("request {number}"), &key(number));
    }
    for (number, _) in LANES {
        let next = store.next_number(&lane(number)).unwrap();
        writeln!(text, "lane {number}: goes on with {next}").unwrap();
        if let Some(record) = record_in_lane(store, number) {
            writeln!(text, "lane {number}: {record:?}").unwrap();
        }
        for sequence in 0..100 {
            let name = format!("lane {number}, number {sequence}");
            answer(
                &mut text,
                store,
                &name,
                &Identity::of_number(&lane(number), sequence),
            );
        }
    }
    for number in 0..4 {
        let usage = store.usage(&scope(number), at(END)).unwrap();
        let is_known = !usage.is_new();
        writeln!(
            text,
            "scope {number}: {is_known}, {:?}",
            usage.counter.taken(END)
        )
        .unwrap();
    }
    let open: Vec<_> = store.inner.borrow().open.iter().collect();
    for (number, open) in open {
        let mut inner = store.inner.borrow_mut();
        let endpoint = inner.endpoint(&open).to_owned();
        let resumed = inner.resumed(Attempt(number)).unwrap().unwrap();
        let lengths = |entries: &[Vec<u8>]| -> Vec<_> {
            let short = entries
                .iter()
                .map(|entry| (entry.len(), entry.first().copied()));
            short.collect()
        };
        let kept = resumed
            .kept
            .map(|(caller, argument)| (caller.to_text(), lengths(&[argument])));
        writeln!(
            text,
            "attempt {number} at {endpoint:?}: {:?}, {} tries, until {}; of {:?}, scope {:?}; {kept:?}; {:?}; {:?}",
            open.phase,
            open.tries,
            open.until,
            resumed.ticket.sequence().map(|sequence| sequence.number),
            resumed.ticket.scope().map(|scope| scope == &story::scope(0)),
            lengths(&resumed.steps),
            resumed.note.map(|note| String::from_utf8(note).unwrap()),
        )
        .unwrap();
    }
    text
}

/// The record that lies in a lane.
fn record_in_lane(store: &Store<TestMemory>, number: u64) -> Option<Record> {
    let identity = lane(number);
    let mut lane = store.lane(&identity).unwrap();
    let (last, mut record) = (lane.counter.last()?, None);
    let mut inner = store.inner.borrow_mut();
    (inner.read_lane(&identity, Some(last), (&mut lane, &mut record))).unwrap();
    record
}

fn answer(text: &mut String, store: &Store<TestMemory>, name: &str, identity: &Identity) {
    let Lookup::Known(record) = store.lookup(identity).unwrap() else {
        return;
    };
    let state = match &record.state {
        State::Pending(pending) => format!("pending, {:?}", store.progress(pending.attempt)),
        State::Done(reply) => {
            let is_uniform = reply.bytes.windows(2).all(|pair| pair[0] == pair[1]);
            let text = match is_uniform {
                true => format!(
                    "done, {} bytes of {:?}",
                    reply.bytes.len(),
                    reply.bytes.first()
                ),
                false => format!("done, {:?}", String::from_utf8_lossy(&reply.bytes)),
            };
            match reply.is_for_retries {
                true => format!("{text} for retries"),
                false => text,
            }
        }
        State::ReplyDropped => "done, reply dropped".to_owned(),
    };
    let digest = |digest: Option<crate::identity::Digest>| {
        digest.map(|digest| u128::from_be_bytes(digest.bytes()))
    };
    let (argument, chosen) = (
        digest(record.fingerprint.argument),
        digest(record.fingerprint.chosen),
    );
    let alias = record
        .fingerprint
        .alias()
        .map_or_else(String::new, |alias| {
            let ended = store.ended(&EarlyName::Alias(alias)).unwrap();
            let is = record.fingerprint.argument_is;
            format!("; {is:?}: {:?}", ended.map(|ended| ended.reply.bytes.len()))
        });
    let until = store
        .guaranteed_until(identity)
        .unwrap()
        .map(Timestamp::as_nanos);
    writeln!(
        text,
        "{name}: {state}; since {}, until {until:?}; {argument:x?} {chosen:x?}{alias}",
        record.since.as_nanos()
    )
    .unwrap();
}

fn file(name: &str) -> PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/tests/layouts");
    PathBuf::from(directory).join(name)
}

fn load(text: &str) -> TestMemory {
    let bytes = dump::loaded(text);
    assert!(bytes.len().is_multiple_of(PAGE_BYTES));
    let memory = TestMemory::new(u64::MAX);
    memory.edit(|content| *content = bytes);
    memory
}

fn opened(memory: &TestMemory) -> Store<TestMemory> {
    Store::open(memory.clone(), roomy(), at(END)).unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn stores_of_released_layouts_are_opened_and_go_on() {
    for [dump, text] in DUMPS {
        let expected = fs::read_to_string(file(text)).unwrap();
        let memory = load(&fs::read_to_string(file(dump)).unwrap());
        assert_alike(&answers(&opened(&memory)), &expected, dump);
        // Again, as this version has written it.
        assert_alike(&answers(&opened(&memory)), &expected, dump);
        goes_on(&opened(&memory));
    }
}

/// The texts are long: only what differs is told.
fn assert_alike(found: &str, expected: &str, name: &str) {
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(found.len(), expected.len(), "{name}");
}

/// Whatever wrote the store: retries are answered, new requests run, and in the end all is forgotten.
fn goes_on(store: &Store<TestMemory>) {
    let retry = |number| admission::admit(store, &request(number, None), at(END));
    assert_eq!(retry(450), Decision::Replay(Reply::first(reply(450, 0))));
    assert!(retry(714) == Decision::Replay(Reply::first(reply(714, 60_000))));
    assert!(matches!(retry(725), Decision::Refuse(_)));
    // Without those of which nothing is compared: a fingerprint alone matches nothing then.
    let numbers = || (800..900).filter(|number: &u64| !number.is_multiple_of(5));
    for number in numbers() {
        execute(
            store,
            &request(number, None),
            END + number,
            &reply(number, 100),
        );
    }
    for number in numbers() {
        let answer = admission::admit(store, &request(number, None), at(END + 1_000));
        assert_eq!(answer, Decision::Replay(Reply::first(reply(number, 100))));
    }
    let next = store.next_number(&lane(3)).unwrap();
    execute(store, &numbered(3, 64, next, None), END, b"next");
    for number in 740..750 {
        let settled = store.resolve(&key(number), &Settlement::NotExecuted, at(END));
        let is_open = matches!(number, 740..=743 | 745..=746) && store.stats().entries > 400;
        assert!(
            matches!(settled, Ok(Resolved::Settled { .. })) || !is_open,
            "{number}: {settled:?}"
        );
    }
    store.evict(at(END + 10 * HOUR), u32::MAX).unwrap();
    let stats = store.stats();
    assert_eq!((stats.entries, stats.counters, stats.bytes), (0, 0, 0));
    execute(store, &request(300, None), END + 10 * HOUR, b"anew");
}

/// Today's code tells the same story, in the same bytes.
#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn the_story_is_still_told_alike() {
    let memory = TestMemory::new(u64::MAX);
    story(&memory);
    open_requests(&memory);
    aliased_requests(&memory);
    replies_for_retries(&memory);
    let mut written = String::new();
    memory.edit(|bytes| written = dump::dumped(bytes));
    let answers = answers(&opened(&memory));
    let [dump, text] = TODAY.map(file);
    if std::env::var_os("UPDATE_LAYOUT").is_some() {
        fs::write(&dump, &written).unwrap();
        fs::write(&text, &answers).unwrap();
    }
    assert!(
        written == fs::read_to_string(dump).unwrap(),
        "the layout has changed: see above"
    );
    assert_alike(&answers, &fs::read_to_string(text).unwrap(), "today's");
}
