//! Sorted rows of several runs go into one: a part at a time, between which nothing is in the heap that the memory has not.

use crate::{
    extents::Extents,
    row::{self, Key},
    runs::Run,
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

    fn row<const W: usize>(&self) -> [u8; W] {
        (self
            .buffer
            .get(self.at..)
            .and_then(|rest| rest.first_chunk()))
        .map_or([0; W], |row| *row)
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

    // The last row is held back, as the next may be of its id.
    let mut held = [0; W];
    let mut is_held = output.to > 0;
    let mut room = output.file.len() as u64 * per_extent - output.to;
    if is_held {
        output.to -= 1;
        row::read(extents, &output.file, W, output.to, &mut held);
    }
    let mut held_key = row::key(&held);
    let mut ready = Vec::with_capacity(per_extent as usize * W);
    let write = |extents: &Extents<M>, output: &mut Run, ready: &mut Vec<u8>| {
        row::write(extents, &output.file, W, output.to, ready);
        output.to += (ready.len() / W) as u64;
        ready.clear();
    };

    let mut tree = Tree::new(sources.iter().map(|source| row::key(&source.buffer)));
    let mut moved = 0;
    while moved < budget && !sources.is_empty() {
        let (first, key) = tree.first();
        let source = &mut sources[first];
        let row = source.row::<W>();
        if is_held && key == held_key {
            if row::is_better(&row, &held) {
                held = row;
            }
        } else {
            if room == 0 {
                write(extents, output, &mut ready);
                if !extents.push(&mut output.file) {
                    break;
                }
                room = per_extent;
            }
            room -= 1;
            if is_held {
                ready.extend_from_slice(&held);
            }
            (held, held_key, is_held) = (row, key, true);
        }
        moved += 1;
        source.at += W;
        if source.at < source.buffer.len() {
            tree.replace_first(row::key(&source.buffer[source.at..]));
        } else if source.fill::<W, M>(extents) {
            tree.replace_first(row::key(&source.buffer));
        } else {
            sources.remove(first);
            tree = Tree::new(
                sources
                    .iter()
                    .map(|source| row::key(&source.buffer[source.at..])),
            );
        }
    }
    for source in sources {
        source.run.from += (source.at / W) as u64;
    }
    if is_held {
        ready.extend_from_slice(&held);
    }
    write(extents, output, &mut ready);
    moved
}

/// A tree of losers: which of several keys is the smallest, when that one is replaced again and again.
struct Tree {
    keys: Vec<Key>,
    /// Of each match who lost it; match n is between the winners of 2n and 2n + 1, and those from `keys.len()` on are the keys. The first has
    /// who won all.
    matches: Vec<u32>,
}

impl Tree {
    fn new(keys: impl Iterator<Item = Key>) -> Self {
        let keys: Vec<_> = keys.collect();
        let count = keys.len();
        let mut matches = vec![0; count.max(1)];
        let mut winners: Vec<_> = (0..2 * count)
            .map(|it| it.saturating_sub(count) as u32)
            .collect();
        for at in (1..count).rev() {
            let (one, other) = (winners[2 * at], winners[2 * at + 1]);
            let is_first = keys[one as usize] <= keys[other as usize];
            (winners[at], matches[at]) = if is_first { (one, other) } else { (other, one) };
        }
        if count > 1 {
            matches[0] = winners[1];
        }
        Self { keys, matches }
    }

    fn first(&self) -> (usize, Key) {
        let first = self.matches[0] as usize;
        (first, self.keys.get(first).copied().unwrap_or_default())
    }

    fn replace_first(&mut self, mut key: Key) {
        let mut winner = self.matches[0];
        self.keys[winner as usize] = key;
        let mut at = (winner as usize + self.keys.len()) / 2;
        while at > 0 {
            let other = self.keys[self.matches[at] as usize];
            if other < key {
                std::mem::swap(&mut winner, &mut self.matches[at]);
                key = other;
            }
            at /= 2;
        }
        self.matches[0] = winner;
    }
}
