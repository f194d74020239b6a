//! Runs: rows in the order of their ids, each id once in a run. A look-up looks into each run, newer ones as well as those being merged.

use crate::{
    extents::{Extents, File},
    merge,
    row::{self, Key, NARROW, WIDE, prefix},
    sort::{self, NARROW_SENT, WIDE_SENT},
};
use ic_stable_structures::Memory;
use idempotency_core::archive::Stretch;
use std::cmp::Ordering;

/// The most runs that the header has room for.
pub(crate) const MAX_RUNS: usize = 1024;

/// At this many runs of one level they are merged into one. So chunks of 100,000 ids are merged twice on their way to 10^9, and up to some 80 runs
/// are there to look into.
pub(crate) const FAN_IN: usize = 32;

/// At most so many are merged at a time, if more have come since.
pub(crate) const MOST_AT_A_TIME: usize = 64;

/// What a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is being done to it.
    Whole,
    /// It is being merged with others of this level. What has gone into the output is here no more.
    Source(u8),
    /// Those of this level are being merged into it.
    Output(u8),
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) file: File,
    /// Its rows are these of the file; the first lies in the first extent.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) state: State,
}

impl Run {
    fn rows(&self) -> u64 {
        self.to - self.from
    }

    /// A run of rows that are in order.
    fn of<M: Memory, const W: usize>(extents: &mut Extents<M>, rows: &[[u8; W]]) -> Self {
        let mut run = Self {
            file: File::default(),
            from: 0,
            to: 0,
            state: State::Whole,
        };
        for rows in rows.chunks(row::per_extent(W) as usize) {
            run.push(extents, rows);
        }
        run
    }

    /// Puts rows at its end, which begin an extent.
    fn push<M: Memory, const W: usize>(&mut self, extents: &mut Extents<M>, rows: &[[u8; W]]) {
        if !rows.is_empty() && extents.push(&mut self.file) {
            row::write(extents, &self.file, W, self.to, rows.as_flattened());
            self.to += rows.len() as u64;
        }
    }

    /// Of runs of one level the longest has less than [`FAN_IN`] times the shortest's rows.
    fn level(&self) -> u8 {
        (self.rows().max(1).ilog(FAN_IN as u64)) as u8
    }
}

/// What became of a merge's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// There is nothing to merge.
    Nothing,
    /// So many rows were merged, and there may be more to do.
    Rows(u64),
    /// There is something to merge, and no memory for it.
    NoMemory,
}

/// All runs of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// Bytes of a row.
    pub(crate) width: usize,
    pub(crate) list: Vec<Run>,
}

impl Runs {
    /// Extents that a run of so many rows takes.
    pub(crate) fn extents_of(&self, rows: u64) -> u64 {
        rows.div_ceil(row::per_extent(self.width))
    }

    /// Adds a run of entries as they were sent; `places` has of each where its reply lies, if rows say so. There must be
    /// [`extents_of`](Self::extents_of) them free.
    pub(crate) fn add<M: Memory>(
        &mut self,
        extents: &mut Extents<M>,
        entries: &[u8],
        stretches: &[Stretch],
        places: &[u64],
    ) {
        let run = match self.width {
            WIDE => Run::of(
                extents,
                &sort::sorted::<WIDE_SENT, WIDE>(entries, stretches, places),
            ),
            _ => Run::of(
                extents,
                &sort::sorted::<NARROW_SENT, NARROW>(entries, stretches, places),
            ),
        };
        if run.to > 0 {
            self.list.push(run);
            self.begin_merges();
        }
    }

    /// Makes sources of runs that are to be merged, and their output.
    fn begin_merges(&mut self) {
        // A level's runs are merged at once, so that many levels are never under way; the next level's may become due by it.
        let mut counts = [0; 64];
        let mut is_busy = [false; 64];
        for run in &self.list {
            match run.state {
                State::Whole => counts[usize::from(run.level())] += 1,
                State::Source(level) | State::Output(level) => is_busy[usize::from(level)] = true,
            }
        }
        for level in 0..64 {
            if is_busy[usize::from(level)] || counts[usize::from(level)] < FAN_IN {
                continue;
            }
            let whole = |run: &&mut Run| run.state == State::Whole && run.level() == level;
            for run in self.list.iter_mut().filter(whole).take(MOST_AT_A_TIME) {
                run.state = State::Source(level);
            }
            self.list.push(Run {
                file: File::default(),
                from: 0,
                to: 0,
                state: State::Output(level),
            });
        }
    }

    pub(crate) fn has_to_merge(&self) -> bool {
        (self.list.iter()).any(|run| matches!(run.state, State::Output(_)))
    }

    /// Whether each merge has one output, and sources.
    pub(crate) fn is_sound(&self) -> bool {
        let count = |state| self.list.iter().filter(|run| run.state == state).count();
        (0..64).all(|level| {
            let (outputs, sources) = (count(State::Output(level)), count(State::Source(level)));
            outputs <= 1 && (outputs == 0) == (sources == 0)
        })
    }

    /// Merges up to so many rows, of the shortest runs first.
    pub(crate) fn merge<M: Memory>(&mut self, extents: &mut Extents<M>, budget: u64) -> Merged {
        let under_way = self.list.iter().filter_map(|run| match run.state {
            State::Output(level) => Some(level),
            _ => None,
        });
        let Some(level) = under_way.min() else {
            return Merged::Nothing;
        };
        let mut sources: Vec<_> = (self.list)
            .extract_if(.., |run| run.state == State::Source(level))
            .collect();
        let output = (self.list.iter_mut()).find(|run| run.state == State::Output(level));
        let Some(output) = output else {
            return Merged::Nothing;
        };
        let rows = match self.width {
            WIDE => merge::pour::<WIDE, M>(extents, &mut sources, output, budget),
            _ => merge::pour::<NARROW, M>(extents, &mut sources, output, budget),
        };
        sources.retain(|run| run.rows() > 0);
        if sources.is_empty() {
            output.state = State::Whole;
            self.begin_merges();
        } else {
            self.list.append(&mut sources);
        }
        if rows == 0 && budget > 0 {
            Merged::NoMemory
        } else {
            Merged::Rows(rows)
        }
    }

    /// Of each key, which are sorted, the best row.
    pub(crate) fn look_up<M: Memory>(
        &self,
        extents: &Extents<M>,
        keys: &[Key],
    ) -> Vec<Option<[u8; WIDE]>> {
        let mut found = vec![None; keys.len()];
        for run in &self.list {
            let mut search = Search::new(extents, run, self.width);
            for (&key, found) in keys.iter().zip(&mut found) {
                let Some(row) = search.find(key) else {
                    continue;
                };
                if found.is_none_or(|best: [u8; WIDE]| row::is_better(&row, &best)) {
                    *found = Some(row);
                }
            }
        }
        found
    }
}

/// Rounds of interpolation before a search halves. Each squares how near it is, where ids are hashes; where they were made to mislead it, the
/// search reads two rows more in each than a binary one.
const ROUNDS: u32 = 3;

/// So many rows are read at once in the end.
const BLOCK: u64 = 8;

/// A search in a run for keys in their order.
struct Search<'a, M> {
    extents: &'a Extents<M>,
    run: &'a Run,
    width: usize,
    /// No key that is searched for from now on lies before this row …
    low: u64,
    /// … or has a smaller prefix.
    below: u64,
}

impl<'a, M: Memory> Search<'a, M> {
    fn new(extents: &'a Extents<M>, run: &'a Run, width: usize) -> Self {
        let (low, below) = (run.from, 0);
        Self {
            extents,
            run,
            width,
            low,
            below,
        }
    }

    fn find(&mut self, key: Key) -> Option<[u8; WIDE]> {
        let mut high = self.run.to;
        let mut above = u64::MAX;
        for _ in 0..ROUNDS {
            let span = high - self.low;
            if span <= 4 * BLOCK {
                break;
            }
            let guess = self.low + share(prefix(key), self.below, above, span);
            let is_above = self.probe(key, guess, &mut high, &mut above);
            // How far off the guess of a hash's place is, mostly.
            let margin = 2 << (span.ilog2() / 2);
            let bracket = if is_above {
                guess.saturating_add(margin)
            } else {
                guess.saturating_sub(margin)
            };
            if (self.low..high).contains(&bracket) {
                self.probe(key, bracket, &mut high, &mut above);
            }
        }
        while high - self.low > BLOCK {
            self.probe(key, self.low.midpoint(high), &mut high, &mut above);
        }
        let mut rows = [0; BLOCK as usize * WIDE];
        let rows = &mut rows[..(high - self.low) as usize * self.width];
        row::read(self.extents, &self.run.file, self.width, self.low, rows);
        let mut row = [0; WIDE];
        let found = rows
            .chunks_exact(self.width)
            .find(|row| self.key(row) == key)?;
        row[..self.width].copy_from_slice(found);
        Some(row)
    }

    fn key(&self, row: &[u8]) -> Key {
        row.first_chunk()
            .map_or(0, |id| row::key_of(id, self.width))
    }

    /// Narrows the rows in which a key may lie by one of them. Whether the key lies after it.
    fn probe(&mut self, key: Key, at: u64, high: &mut u64, above: &mut u64) -> bool {
        let mut id = [0; 16];
        row::read(self.extents, &self.run.file, self.width, at, &mut id);
        let there = row::key_of(&id, self.width);
        match there.cmp(&key) {
            Ordering::Less => {
                (self.low, self.below) = (at + 1, prefix(there));
                true
            }
            // The row itself stays in.
            Ordering::Equal => {
                (self.low, *high) = (at, at + 1);
                false
            }
            Ordering::Greater => {
                (*high, *above) = (at, prefix(there));
                false
            }
        }
    }
}

/// Which of `span` places is a prefix's, if those from `below` to `above` are spread evenly over them.
fn share(prefix: u64, below: u64, above: u64, span: u64) -> u64 {
    let range = above.saturating_sub(below);
    // So that the product fits; a memory has less than 2^34 rows.
    let shift = (64 - range.leading_zeros()).saturating_sub(28);
    let part = prefix.clamp(below, above.max(below)) - below;
    ((part >> shift) * span / ((range >> shift) + 1)).min(span - 1)
}
