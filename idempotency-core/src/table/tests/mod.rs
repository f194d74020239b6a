//! The table by itself, beside a plain model: two families of rows that mean nothing, and what must hold whatever rows mean.

mod cells;
mod free;
mod kinds;
mod version2;

use super::{
    BlobPlace, Composed, Damaged, Entry, FIRST_SEGMENT, Family, Kind, Link, Opening, Partition,
    Partitions, Purpose, Row, RowBytes, TERMINATOR, Table, Vacant,
    kind::Name,
    layout::{Live, NUMBERS, UNITS_AHEAD},
    read_blob, tail,
};
use ic_stable_structures::DefaultMemoryImpl;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

type M = DefaultMemoryImpl;

/// Rows: 1, a quarter of the body's length, 2 unused bytes, time, name, length and place of a blob, body. Those of family 0
/// may have blobs, and those of family 1 are not read at once.
struct Toy<const INDEX: usize>;

const FIXED: usize = 40;

/// What the families keep with a partition: bytes of blobs, and how often they were given up, + 2^32 for each row removed.
type Own = [u64; 2];

impl<const INDEX: usize> Family for Toy<INDEX> {
    const INDEX: usize = INDEX;
    const KIND: Kind = [Kind::REQUEST, Kind::COUNTER][INDEX];
    const MOST_PARTITIONS: u16 = [8, 16][INDEX];
    const TABLE: u64 = [4_096, 256][INDEX];
    const MOST_BYTES: usize = 192;
    const FIRST_READ: usize = [192, 48][INDEX];
    type Own = Own;

    fn row(bytes: &[u8]) -> Result<Option<Row>, Damaged> {
        match bytes.first() {
            None | Some(0) => return Ok(None),
            Some(1) if bytes.len() < FIXED => return Ok(None),
            Some(1) => {}
            Some(_) => return Err(Damaged),
        }
        Ok(Some(Row {
            length: FIXED + 4 * usize::from(bytes[1]),
            time: u64::from_le_bytes(bytes[4..12].try_into().unwrap()),
            tail: bytes[12..28].try_into().unwrap(),
        }))
    }

    fn has_alias(bytes: &[u8], alias: &[u8; 16]) -> bool {
        bytes[12..28] == *alias
    }

    fn blob(bytes: &[u8]) -> Option<(BlobPlace, usize)> {
        let length = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
        let place = BlobPlace::from_bytes(bytes[32..40].try_into().unwrap());
        (length > 0).then_some((place, length as usize))
    }

    fn count(own: &mut Own, bytes: &[u8]) {
        own[0] += Self::blob(bytes).map_or(0, |(_, length)| length as u64);
    }
}

/// Few, so that what was found is soon changed.
const KEYS: u8 = 64;

/// Odd keys have all bits in common that the index goes by.
fn name(key: u8) -> Name {
    let mut name = [7; 24];
    match key % 2 {
        0 => name.copy_from_slice(&blake3::hash(&[key]).as_bytes()[..24]),
        _ => name[23] = key,
    }
    name
}

/// What a row says, as it is known and as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    body: Vec<u8>,
    blob: Option<Vec<u8>>,
}

impl Content {
    /// As little as it follows from.
    fn new(has_blobs: bool, [size, filling, blob]: [u8; 3]) -> Self {
        // Some blobs go on from one segment to the next.
        let length = usize::from(blob % 128) * if blob % 16 == 0 { 700 } else { 9 };
        Self {
            body: vec![filling; usize::from(size) % 37 * 4],
            blob: (has_blobs && blob > 127 && length > 0).then(|| vec![filling; length]),
        }
    }

    fn blob_bytes(&self) -> u64 {
        self.blob.as_ref().map_or(0, |blob| blob.len() as u64)
    }

    fn compose(
        &self,
        (key, time): (u8, u64),
        bytes: &mut RowBytes,
        own: &mut Own,
        address: Option<u64>,
    ) -> usize {
        own[0] += self.blob_bytes();
        let drops = own[1] as u32;
        let place = address.map_or([0; 8], |address| BlobPlace { address, drops }.bytes());
        let length = FIXED + self.body.len();
        bytes[..4].copy_from_slice(&[1, (self.body.len() / 4) as u8, 0, 0]);
        bytes[4..12].copy_from_slice(&time.to_le_bytes());
        bytes[12..28].copy_from_slice(&tail(&name(key)));
        bytes[28..32].copy_from_slice(&(self.blob_bytes() as u32).to_le_bytes());
        bytes[32..40].copy_from_slice(&place);
        bytes[FIXED..length].copy_from_slice(&self.body);
        bytes[length..length + TERMINATOR].fill(0);
        length
    }
}

/// What is known of a partition: its time, rows, and what is kept with it.
type Known = (u64, u32, Own);

/// A family as it is, and as it should be.
struct Side<const INDEX: usize> {
    partitions: Partitions<Toy<INDEX>>,
    live: VecDeque<Known>,
    forgotten: usize,
    /// Of each key: what its row says, and the partition, counted from the first that ever was.
    rows: BTreeMap<u8, (Content, usize)>,
    /// Places that were found at some time.
    places: BTreeMap<u8, Vacant>,
    /// What was found last, if it was kept.
    kept: Option<(u8, Entry<()>)>,
}

impl<const INDEX: usize> Side<INDEX> {
    fn new(partitions: Partitions<Toy<INDEX>>) -> Self {
        Self {
            partitions,
            live: VecDeque::new(),
            forgotten: 0,
            rows: BTreeMap::new(),
            places: BTreeMap::new(),
            kept: None,
        }
    }

    fn find(&self, table: &mut Table<M>, key: u8) -> Entry<Content> {
        let partitions = &self.partitions;
        let found = table.find(
            partitions,
            &name(key),
            |segments, occupied, bytes| {
                let header = &segments.header;
                let own = partitions.get(header, occupied.slot.partition).unwrap().own;
                let blob = Toy::<INDEX>::blob(bytes)
                    .filter(|(place, _)| place.drops == own[1] as u32)
                    .map(|(place, length)| read_blob(segments, place.address, length).unwrap());
                let body = bytes[FIXED..].to_vec();
                Ok(Entry::Occupied(occupied, Content { body, blob }))
            },
            Entry::Vacant,
        );
        found.unwrap()
    }

    fn apply(&mut self, table: &mut Table<M>, time: u64, op: [u8; 6]) {
        let [kind, key, at, content @ ..] = op;
        // Often what was found last.
        let key = match self.kept {
            Some((kept, _)) if key >= 192 => kept,
            _ => key % KEYS,
        };
        match kind % 32 {
            0..=18 => self.put(table, time, key, at / 2, Content::new(INDEX == 0, content)),
            19..=21 => self.remove(table, key),
            22..=25 => self.begin(table, time),
            26 => self.forget_oldest(table),
            27 if INDEX == 0 => self.drop_blobs(table),
            _ => self.keep(table, key),
        }
    }

    fn keep(&mut self, table: &mut Table<M>, key: u8) {
        let entry = self.find(table, key).map(|_| ());
        if let Entry::Vacant(place) = entry {
            self.places.insert(key, place);
        }
        self.kept = Some((key, entry));
    }

    /// What is said to be right still is what would be found now.
    fn check_kept(&self, table: &mut Table<M>) {
        if let Some((key, entry)) = self.kept
            && table.is_current(&entry)
        {
            assert_eq!(self.find(table, key).map(|_| ()), entry);
        }
    }

    fn begin(&mut self, table: &mut Table<M>, time: u64) {
        let number = self.partitions.begin(&mut table.segments, time);
        let newest = self.partitions.newest_number(&table.segments.header);
        assert_eq!(number, newest);
        if self.live.len() < usize::from(Toy::<INDEX>::MOST_PARTITIONS) {
            self.live.push_back((time, 0, [0; 2]));
        } else if let Some((until, ..)) = self.live.back_mut() {
            *until = time;
        }
    }

    /// Adds a row, or writes over the one that there is where that is allowed, or replaces it.
    fn put(&mut self, table: &mut Table<M>, time: u64, key: u8, at: u8, content: Content) {
        assert!(table.segments.reserve(40));
        if self.live.is_empty() {
            self.begin(table, time);
        }
        let position = usize::from(at) % self.live.len();
        let number = table.segments.header.live[INDEX].number(position);
        let mut link = Link::Insert(self.places.remove(&key).unwrap_or(Vacant::SOMEWHERE));
        if let Some((known, of)) = self.rows.get(&key).cloned() {
            let (occupied, _) = self.find(table, key).occupied().unwrap();
            let (_, rows, own) = &mut self.live[of - self.forgotten];
            if known.body.len() == content.body.len() && known.blob.is_none() {
                let partitions = &mut self.partitions;
                let blob = content.blob.as_deref();
                let done =
                    table.overwrite(partitions, occupied.row(), blob, |bytes, it, at| Composed {
                        length: content.compose((key, time), bytes, &mut it.own, at),
                        // Reading on finds no blob of a row that lies before the table's place.
                        must_write: at.is_some(),
                    });
                done.unwrap();
                own[0] += content.blob_bytes();
                self.rows.insert(key, (content, of));
                return;
            }
            *rows -= 1;
            link = Link::Replace(occupied);
        }
        let (name, row) = (name(key), (time, content.blob.as_deref()));
        let partitions = &mut self.partitions;
        let done = table.add(partitions, number, &name, row, link, |bytes, it, at| {
            Composed {
                length: content.compose((key, time), bytes, &mut it.own, at),
                must_write: false,
            }
        });
        done.unwrap();
        let (_, rows, own) = &mut self.live[position];
        *rows += 1;
        own[0] += content.blob_bytes();
        self.rows.insert(key, (content, position + self.forgotten));
    }

    fn remove(&mut self, table: &mut Table<M>, key: u8) {
        let Some((_, partition)) = self.rows.remove(&key) else {
            return;
        };
        let (occupied, _) = self.find(table, key).occupied().unwrap();
        let note = |own: &mut Own| own[1] += 1 << 32;
        table.remove(&mut self.partitions, occupied, note);
        let (_, rows, own) = &mut self.live[partition - self.forgotten];
        *rows -= 1;
        note(own);
    }

    fn forget_oldest(&mut self, table: &mut Table<M>) {
        let forgotten = table.forget_oldest(&mut self.partitions);
        table.segments.write_header();
        let expected = self.live.pop_front();
        assert_eq!(forgotten.map(|it| (it.until, it.rows, it.own)), expected);
        self.forgotten += usize::from(expected.is_some());
        self.rows.retain(|_, (_, of)| *of >= self.forgotten);
    }

    fn drop_blobs(&mut self, table: &mut Table<M>) {
        let drop = |own: &mut Own| {
            let has_any = own[0] > 0;
            own[1] += u64::from(has_any);
            own[0] = 0;
            has_any
        };
        let position = self.live.iter_mut().position(|(_, _, own)| drop(own));
        let dropped = self.partitions.drop_blobs(&mut table.segments, drop);
        assert_eq!(dropped, position.is_some());
        for (content, of) in self.rows.values_mut() {
            if position.is_some_and(|position| position + self.forgotten == *of) {
                content.blob = None;
            }
        }
    }

    fn check(&mut self, table: &mut Table<M>) {
        let found = self.partitions.iter();
        let found: VecDeque<_> = found.map(|it| (it.until, it.rows, it.own)).collect();
        assert_eq!(found, self.live);
        assert_eq!(self.partitions.rows, self.rows.len() as u64);
        for key in 0..KEYS {
            let expected = self.rows.get(&key).map(|(content, _)| content.clone());
            let found = self.find(table, key);
            assert!(table.is_current(&found));
            assert_eq!(
                found.occupied().map(|(_, content)| content),
                expected,
                "{key}"
            );
        }
    }
}

fn open(memory: &M) -> (Table<M>, Partitions<Toy<0>>, Partitions<Toy<1>>) {
    let most = [Toy::<0>::MOST_PARTITIONS, Toy::<1>::MOST_PARTITIONS];
    let pages = |is_new| if is_new { FIRST_SEGMENT.into() } else { 0 };
    let opening = Opening::read(memory.clone(), Purpose::Requests, true, most, pages).unwrap();
    let first = opening.partitions();
    let (first, second) = (first.unwrap(), opening.partitions().unwrap());
    let words = match opening.header().incarnation {
        0 => [1, 2, 3, 4, 5],
        _ => opening.header().words,
    };
    let table = opening.open(words, |segments| {
        first.write_all(segments);
        second.write_all(segments);
    });
    (table, first, second)
}

fn all<const INDEX: usize>(partitions: &Partitions<Toy<INDEX>>) -> Vec<Partition<Own>> {
    partitions.iter().copied().collect()
}

/// What happens, as the bytes that it follows from.
fn live_through(ops: &[[u8; 6]]) {
    let memory = M::default();
    let (mut table, first, second) = open(&memory);
    // Their numbers come round.
    let first_number = Live {
        first: NUMBERS - 1,
        count: 0,
    };
    table.segments.header.live = [first_number; 2];
    table.segments.write_header();
    let (mut first, mut second) = (Side::new(first), Side::new(second));
    for (time, op) in (1_000..).zip(ops) {
        let is_first = op[2] % 2 == 0;
        if op[0] % 32 < 30 {
            match is_first {
                true => first.apply(&mut table, time, *op),
                false => second.apply(&mut table, time, *op),
            }
        } else {
            let mut before = (
                table.segments.header,
                all(&first.partitions),
                all(&second.partitions),
            );
            if is_first {
                version2::downgrade(&memory, &before.0);
                // It has no such word.
                before.0.words[4] = 0;
            } else {
                // What the memory was told, so that no block is used twice.
                before.0.index_units = before.0.index_units.next_multiple_of(UNITS_AHEAD);
            }
            (table, first.partitions, second.partitions) = open(&memory);
            let mut header = table.segments.header;
            header.incarnation -= 1;
            let after = (header, all(&first.partitions), all(&second.partitions));
            assert_eq!(after, before);
            first.check(&mut table);
            second.check(&mut table);
        }
        first.check_kept(&mut table);
        second.check_kept(&mut table);
    }
    first.check(&mut table);
    second.check(&mut table);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    #[cfg_attr(miri, ignore = "it would take an hour")]
    fn rows_are_found_as_the_model_says(ops in prop::collection::vec(any::<[u8; 6]>(), 0..600)) {
        live_through(&ops);
    }
}
