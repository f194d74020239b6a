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

use super::{
    ground,
    harness::{PAGE_BYTES, TestMemory},
};
use crate::{
    admission::{self, Decision, Request, Ticket},
    identity::{
        Argument, Compared, EarlyName, Fingerprint, Fingerprinted, Identity, LaneKey,
        LazyFingerprint, RequestKey, Scope,
    },
    policy::Policy,
    sequence::Sequence,
    store::{Attempt, Lookup, Origin, Record, Reply, Resolved, Settlement, State, Store},
    time::Timestamp,
};
use candid::Principal;
use std::{fmt::Write as _, fs, path::PathBuf, time::Duration};

/// Memories, and what is said of them.
const DUMPS: [[&str; 2]; 4] = [
    ["2.hex", "story.txt"],
    ["3.hex", "story.txt"],
    ["3-open.hex", "3-open.txt"],
    TODAY,
];

/// What this code writes.
const TODAY: [&str; 2] = ["3-alias.hex", "3-alias.txt"];

const HOUR: u64 = 3_600_000_000_000;
const START: u64 = 1_700_000_000_000_000_000;

/// When the last heap of the story goes away.
const END: u64 = START + 4 * HOUR;

const KEYS: u64 = 1_000;
const LANES: [(u64, u16); 3] = [(1, 1), (2, 1), (3, 64)];

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(HOUR))
        .retention(Duration::from_nanos(HOUR))
        .max_reply_bytes(100_000)
        .capacity_bytes(900_000)
        .drop_replies()
        .max_counters(100)
        .counter_idle(Duration::from_nanos(HOUR))
        .quota(2_000, 1 << 20)
}

/// With room for requests that have not ended.
fn roomy() -> Policy {
    policy().capacity_bytes(9_000_000)
}

fn caller(number: u64) -> Principal {
    Principal::from_slice(&number.to_le_bytes())
}

/// From 900 on all bits that the index goes by are equal: nodes of all levels, and buckets that go on in others.
fn key(number: u64) -> Identity {
    if number >= 900 {
        return ground(number);
    }
    let key = RequestKey::of(&number).unwrap();
    Identity::new("pay", &Scope::Caller, &caller(number % 3), &key).unwrap()
}

fn scope(number: u64) -> Identity {
    Identity::of_scope("pay", &Scope::Caller, &caller(number)).unwrap()
}

fn lane(number: u64) -> Identity {
    Identity::of_lane(
        "order",
        &Scope::Caller,
        &caller(number),
        &LaneKey::of(&number),
    )
    .unwrap()
}

/// Every third was compared by a part of its argument, every fifth by nothing.
fn fingerprint(number: u64) -> Fingerprint {
    let bytes = candid::encode_one(number).unwrap();
    let compared = match number {
        _ if number.is_multiple_of(3) => Compared::chosen(&number),
        _ if number.is_multiple_of(5) => Compared::Nothing,
        _ => Compared::Argument,
    };
    LazyFingerprint::new(&Argument::new(&bytes), compared, None, &Scope::Caller).fingerprint()
}

fn request(number: u64, created_at: Option<u64>) -> Request {
    Request {
        identity: key(number),
        fingerprint: fingerprint(number),
        created_at: created_at.map(at),
        sequence: None,
        scope: Some(scope(number % 3)),
    }
}

fn numbered(
    lane_number: u64,
    max_in_flight: u16,
    number: u64,
    first_incomplete: Option<u64>,
) -> Request {
    let sequence = Sequence {
        lane: lane(lane_number),
        number,
        max_in_flight,
        first_incomplete,
        is_shared: false,
    };
    Request {
        identity: Identity::of_number(&sequence.lane, number),
        fingerprint: fingerprint(number),
        created_at: None,
        sequence: Some(sequence),
        scope: Some(scope(lane_number)),
    }
}

fn admitted(store: &Store<TestMemory>, request: &Request, now: u64) -> Ticket {
    match admission::admit(store, request, at(now)) {
        Decision::Execute(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn execute(store: &Store<TestMemory>, request: &Request, now: u64, reply: &[u8]) {
    let ticket = admitted(store, request, now);
    store.record(&ticket, reply).unwrap();
}

fn begin(store: &Store<TestMemory>, request: &Request, now: u64) -> (Ticket, Attempt) {
    let ticket = admitted(store, request, now);
    let attempt = store.begin(&ticket, &Origin::NOWHERE).unwrap();
    (ticket, attempt)
}

fn reply(number: u64, length: u64) -> Vec<u8> {
    vec![number as u8; length as usize]
}

/// Everything that leaves a trace in the memory happens: in two heaps, over four hours.
fn story(memory: &TestMemory) {
    let store = Store::open(memory.clone(), policy(), at(START)).unwrap();
    // Forgotten before the end: slots and segments that are used again, and a floor of lanes.
    for number in 0..300 {
        execute(
            &store,
            &request(number, None),
            START + number,
            &reply(number, number % 70),
        );
    }
    execute(&store, &numbered(9, 8, 6, None), START, b"forgotten");
    let store = Store::open(memory.clone(), policy(), at(START + 3 * HOUR)).unwrap();
    assert!(
        store
            .evict(at(START + 3 * HOUR + HOUR / 2), u32::MAX)
            .unwrap()
            > 1
    );
    let begun = START + 3 * HOUR + HOUR / 2;
    for number in (300..500).chain(900..960) {
        let now = begun + number * 1_000_000_000;
        let created_at = number.is_multiple_of(4).then(|| now - 1_000_000_000);
        execute(
            &store,
            &request(number, created_at),
            now,
            &reply(number, number % 90),
        );
    }
    let now = begun + 1_000 * 1_000_000_000;
    for (number, length) in [(700, 65), (701, 3_000), (702, 70_000), (703, 100_000)] {
        execute(&store, &request(number, None), now, &reply(number, length));
    }
    // The replies of the oldest partition that has any make room.
    for number in 710..716 {
        execute(
            &store,
            &request(number, None),
            now + HOUR / 4,
            &reply(number, 60_000),
        );
    }
    let now = END - HOUR / 8;
    let (ticket, attempt) = begin(&store, &request(720, None), now);
    assert!(
        store
            .complete(&ticket, attempt, Some(Reply::first(b"async")), at(now + 1))
            .unwrap()
    );
    let (ticket, attempt) = begin(&store, &request(721, None), now);
    assert!(
        store
            .complete(
                &ticket,
                attempt,
                Some(Reply::first(&reply(721, 5_000))),
                at(now + 1)
            )
            .unwrap()
    );
    let (ticket, attempt) = begin(&store, &request(722, None), now);
    assert!(store.complete(&ticket, attempt, None, at(now + 1)).unwrap());
    let (ticket, attempt) = begin(&store, &request(723, None), now);
    assert!(store.interrupt(&ticket, attempt, at(now + 1)).unwrap());
    let (ticket, attempt) = begin(&store, &request(724, None), now);
    assert!(store.release(&ticket, attempt).unwrap());
    begin(&store, &request(725, None), now);
    begin(&store, &request(726, None), now);
    // A strict lane that is stuck, one that goes on, and one with gaps and with replies that its client has received.
    let floor = store.inner.borrow().sequence_floor();
    execute(&store, &numbered(1, 1, floor, None), now, b"first");
    begin(&store, &numbered(1, 1, floor + 1, None), now);
    for number in 0..3 {
        execute(
            &store,
            &numbered(2, 1, floor + number, None),
            now,
            &reply(number, 10),
        );
    }
    for number in [0, 1, 2, 3, 7, 40] {
        execute(
            &store,
            &numbered(3, 64, floor + number, Some(floor + number / 2)),
            now,
            &reply(number, 80),
        );
    }
}

/// Requests that have not ended, in every phase: after [`story`], in heaps of their own.
fn open_requests(memory: &TestMemory) {
    let now = END - HOUR / 16;
    let begin = |store: &Store<TestMemory>, number: u64| {
        let ticket = admitted(store, &request(number, None), now);
        let argument = reply(number, number - 700);
        let origin = Origin {
            endpoint: ["pay", "book"][number as usize % 2],
            scope: [number as u8; 8],
            kept: Some((caller(number), &argument)),
        };
        store.begin(&ticket, &origin).unwrap()
    };
    let step = |store: &Store<TestMemory>, attempt, number, length| {
        store.append_step(attempt, &reply(number, length)).unwrap();
    };
    let store = Store::open(memory.clone(), roomy(), at(now)).unwrap();
    let cut_off = begin(&store, 740);
    step(&store, cut_off, 1, 3);
    step(&store, cut_off, 2, 172);
    step(&store, cut_off, 3, 1_000);
    store.cut_off(cut_off, at(now)).unwrap();
    let asleep = begin(&store, 741);
    step(&store, asleep, 4, 20);
    store.sleep(asleep, at(END + HOUR)).unwrap();
    let parked = begin(&store, 742);
    step(&store, parked, 5, 0);
    store
        .park(parked, "what it did is not known: \u{1F937}")
        .unwrap();
    let anew = begin(&store, 743);
    step(&store, anew, 6, 500);
    store.restart(anew, at(now)).unwrap();
    // Tried again and again, to no avail.
    for tries in 0..3 {
        let due = store.take_due(at(now + HOUR / 32 + tries * HOUR / 256), 10);
        assert!(!due.unwrap().is_empty());
    }
    let store = Store::open(memory.clone(), roomy(), at(now)).unwrap();
    let ended = begin(&store, 744);
    let running = begin(&store, 745);
    step(&store, running, 7, 30);
    // Its cell is the next one's.
    let settled = store.resolve(&key(744), &Settlement::NotExecuted, at(now));
    assert!(matches!(settled, Ok(Resolved::Running { .. })));
    let resumed = store.resumed(ended).unwrap().unwrap();
    assert!(
        store
            .complete(
                &resumed.ticket,
                ended,
                Some(Reply::first(b"ended")),
                at(now)
            )
            .unwrap()
    );
    begin(&store, 746);
}

/// A request that is found by its argument, too. Its number tells what is compared.
fn aliased(number: u64) -> Request {
    let (bytes, caller) = (candid::encode_one(number).unwrap(), caller(number % 3));
    let compared = match number {
        _ if number.is_multiple_of(3) => Compared::chosen(&number),
        _ if number.is_multiple_of(5) => Compared::Nothing,
        _ => Compared::Argument,
    };
    let argument = Argument::of_call(&bytes, "pay", &caller);
    let fingerprint = LazyFingerprint::new(&argument, compared, None, &Scope::Caller);
    Request {
        fingerprint: fingerprint.with_alias(true).fingerprint(),
        ..request(number, None)
    }
}

/// Requests that have aliases, in every state: after [`open_requests`], in a heap of their own.
fn aliased_requests(memory: &TestMemory) {
    let now = END - HOUR / 32;
    let store = Store::open(memory.clone(), roomy(), at(now)).unwrap();
    for number in 760..770 {
        execute(
            &store,
            &aliased(number),
            now,
            &reply(number, 10 * (number - 755)),
        );
    }
    let (ticket, attempt) = begin(&store, &aliased(770), now);
    store
        .complete(&ticket, attempt, Some(Reply::first(b"ended")), at(now))
        .unwrap();
    let (ticket, attempt) = begin(&store, &aliased(771), now);
    store.release(&ticket, attempt).unwrap();
    begin(&store, &aliased(772), now);
}

/// Records that hold the reply for retries, in themselves and outside: after [`aliased_requests`], in a heap of its own.
fn replies_for_retries(memory: &TestMemory) {
    let now = END - HOUR / 32;
    let store = Store::open(memory.clone(), roomy(), at(now)).unwrap();
    let kept = |number| reply(number, [0, 48, 49, 64, 65, 3_000][number as usize % 6]);
    for number in 774..798 {
        let bytes = kept(number);
        let reply = Reply::for_retries(bytes.as_slice());
        let request = request(number, None);
        if number.is_multiple_of(2) {
            let ticket = admitted(&store, &request, now);
            store.record_reply(&ticket, reply).unwrap();
        } else {
            let (ticket, attempt) = begin(&store, &request, now);
            let is_own = store.complete(&ticket, attempt, Some(reply), at(now));
            assert!(is_own.unwrap());
        }
    }
}

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
            resumed.ticket.scope().map(|scope| scope == &self::scope(0)),
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

const LINE_BYTES: usize = 32;

/// Bytes as lines of an address and 32 bytes. A line stands for all that follow and are equal.
fn dumped(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut last: &[u8] = &[];
    for (index, line) in bytes.chunks(LINE_BYTES).enumerate() {
        if line != last {
            write!(text, "{:08x} ", index * LINE_BYTES).unwrap();
            for byte in line {
                write!(text, "{byte:02x}").unwrap();
            }
            text.push('\n');
        }
        last = line;
    }
    writeln!(text, "{:08x}", bytes.len()).unwrap();
    text
}

fn load(text: &str) -> TestMemory {
    let mut bytes = vec![];
    let mut last = vec![];
    for line in text.lines() {
        let (address, content) = line.split_once(' ').unwrap_or((line, ""));
        let address = usize::from_str_radix(address, 16).unwrap();
        while bytes.len() < address {
            bytes.extend_from_slice(&last);
        }
        last = (0..content.len() / 2)
            .map(|index| u8::from_str_radix(&content[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        bytes.extend_from_slice(&last);
    }
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
    memory.edit(|bytes| written = dumped(bytes));
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
