//! Sorted rows of several runs go into one: a part at a time, between which nothing is in the heap that the memory has not.

use crate::{
    extents::Extents,
    row::{self, Key},
    runs::{MOST_AT_A_TIME, Run},
};
use ic_stable_structures::Memory;

/// Rows that are read at once.
const READ_AHEAD: u64 = 256;

/// A source, and its rows that were read ahead.
struct Source<'a> {
    run: &'a mut Run,
    buffer: Vec<u8>,
    at: usize,
}

impl Source<'_> {
    /// Has the next rows read ahead; `false` if there are none. Extents that are done with go back.
    fn fill<const W: usize, M: Memory>(&mut self, extents: &mut Extents<M>) -> bool {
        let per_extent = row::per_extent(W);
        self.run.from += (self.at / W) as u64;
        self.at = 0;
        if self.run.from >= per_extent {
            extents.pop_front(&mut self.run.file);
            self.run.from -= per_extent;
            self.run.to -= per_extent;
        }
        if self.run.from == self.run.to {
            extents.pop_front(&mut self.run.file);
            return false;
        }
        let rows = (per_extent - self.run.from)
            .min(self.run.to - self.run.from)
            .min(READ_AHEAD);
        self.buffer.resize(rows as usize * W, 0);
        row::read(extents, &self.run.file, W, self.run.from, &mut self.buffer);
        true
    }

    fn key<const W: usize>(&self) -> Key {
        (self.buffer.get(self.at..)).map_or(0, row::key::<W>)
    }
}

/// Moves up to so many rows from sources to the output, and says how many. It ends early when there are no more, or no memory. Of rows of one
/// id the best goes on.
pub(crate) fn pour<const W: usize, M: Memory>(
    extents: &mut Extents<M>,
    sources: &mut [Run],
    output: &mut Run,
    budget: u64,
) -> u64 {
    let per_extent = row::per_extent(W);
    let mut sources: Vec<_> = (sources.iter_mut())
        .map(|run| Source {
            run,
            buffer: vec![],
            at: 0,
        })
        .collect();
    sources.retain_mut(|source| source.fill::<W, M>(extents));

    // Rows that are to be written; the last is held back, as the next may be of its id.
    let mut ready = vec![0; (per_extent + 1) as usize * W];
    let (slots, _) = ready.as_chunks_mut::<W>();
    let mut count = 0;
    let mut room = output.file.len() as u64 * per_extent - output.to;
    let mut last_key = 0;
    if output.to > 0 {
        output.to -= 1;
        row::read(extents, &output.file, W, output.to, &mut slots[0]);
        last_key = row::key::<W>(&slots[0]);
        count = 1;
    }
    let write = |extents: &Extents<M>, output: &mut Run, rows: &[[u8; W]]| {
        row::write(extents, &output.file, W, output.to, rows.as_flattened());
        output.to += rows.len() as u64;
    };

    let mut tree = Tree::new(sources.iter().map(Source::key::<W>));
    let mut moved = 0;
    while moved < budget && !sources.is_empty() {
        let (first, key) = tree.first();
        let is_again = count > 0 && key == last_key;
        if room == 0 && !is_again {
            if count > 0 {
                write(extents, output, &slots[..count - 1]);
                slots.swap(0, count - 1);
                count = 1;
            }
            if !extents.push(&mut output.file) {
                break;
            }
            room = per_extent;
        }
        let source = &mut sources[first];
        let Some(row) = (source.buffer.get(source.at..)).and_then(|rest| rest.first_chunk::<W>())
        else {
            break;
        };
        if !is_again {
            slots[count] = *row;
            count += 1;
            room -= 1;
            last_key = key;
        } else if row::is_better(row, &slots[count - 1]) {
            slots[count - 1] = *row;
        }
        moved += 1;
        source.at += W;
        if source.at < source.buffer.len() || source.fill::<W, M>(extents) {
            tree.replace_first(source.key::<W>());
        } else {
            sources.remove(first);
            tree = Tree::new(sources.iter().map(Source::key::<W>));
        }
    }
    for source in sources {
        source.run.from += (source.at / W) as u64;
    }
    write(extents, output, &slots[..count]);
    moved
}

/// A tree of losers: which of several keys is the smallest, when that one is replaced again and again.
struct Tree {
    keys: Vec<Key>,
    /// Of each match who lost it, and the first half of its key; match n is between the winners of 2n and 2n + 1, and those from `keys.len()` on
    /// are the keys. The first has who won all.
    matches: [(u64, u32); MOST_AT_A_TIME],
}

// So that no index of a match is checked.
const _: () = assert!(MOST_AT_A_TIME.is_power_of_two());

impl Tree {
    /// Of at most [`MOST_AT_A_TIME`] keys.
    fn new(keys: impl Iterator<Item = Key>) -> Self {
        let keys: Vec<_> = keys.take(MOST_AT_A_TIME).collect();
        let count = keys.len();
        let mut matches = [(0, 0); MOST_AT_A_TIME];
        let mut winners: Vec<_> = vec![(0, 0); count];
        winners.extend((keys.iter().zip(0..)).map(|(&key, at)| (row::prefix(key), at)));
        for at in (1..count).rev() {
            let (one, other) = (winners[2 * at], winners[2 * at + 1]);
            let is_first = keys[one.1 as usize] <= keys[other.1 as usize];
            (winners[at], matches[at]) = if is_first { (one, other) } else { (other, one) };
        }
        if let Some(&winner) = winners.get(1) {
            matches[0] = winner;
        }
        Self { keys, matches }
    }

    fn first(&self) -> (usize, Key) {
        let first = self.matches[0].1 as usize;
        (first, self.keys.get(first).copied().unwrap_or_default())
    }

    #[inline]
    fn replace_first(&mut self, key: Key) {
        let first = self.matches[0].1;
        self.keys[first as usize] = key;
        let mut winner = (row::prefix(key), first);
        let mut at = (first as usize + self.keys.len()) / 2;
        while at > 0 {
            let other = self.matches[at % MOST_AT_A_TIME];
            if other.0 < winner.0 || other.0 == winner.0 && self.goes_before(other, winner) {
                self.matches[at % MOST_AT_A_TIME] = winner;
                winner = other;
            }
            at /= 2;
        }
        self.matches[0] = winner;
    }

    /// Of keys whose first halves are equal.
    #[cold]
    fn goes_before(&self, one: (u64, u32), other: (u64, u32)) -> bool {
        self.keys[one.1 as usize] < self.keys[other.1 as usize]
    }
}
