//! Which numbers of a lane were used, from the first one on that may not be.

/// A bit for each. The first 64 are had without an allocation: a strict lane needs one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    first: u64,
    more: Vec<u64>,
}

impl Used {
    /// From words, the first of which has the bits of the first numbers.
    pub(super) fn of(mut words: impl Iterator<Item = u64>) -> Self {
        Self {
            first: words.next().unwrap_or(0),
            more: words.collect(),
        }
    }

    /// Its words.
    pub(super) fn words(&self) -> impl DoubleEndedIterator<Item = u64> {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }

    /// How many words it has.
    pub(super) fn len(&self) -> usize {
        1 + self.more.len()
    }

    /// Whether none was used.
    pub(super) fn is_empty(&self) -> bool {
        self.words().all(|word| word == 0)
    }

    /// Makes room for this many numbers, and no more than that and what was used needs.
    pub(super) fn fit(&mut self, numbers: u16) {
        let last = self.more.iter().rposition(|word| *word != 0);
        let in_use = last.map_or(0, |last| last + 1);
        let words = usize::from(numbers).div_ceil(64);
        self.more.resize(in_use.max(words.saturating_sub(1)), 0);
    }

    pub(super) fn contains(&self, offset: u64) -> bool {
        match offset {
            0..64 => self.first >> offset & 1 != 0,
            _ => usize::try_from(offset / 64 - 1)
                .ok()
                .and_then(|word| self.more.get(word))
                .is_some_and(|word| word >> (offset % 64) & 1 != 0),
        }
    }

    /// Nothing happens where there is no room for the number.
    pub(super) fn set(&mut self, offset: u64, is_used: bool) {
        let word = match offset {
            0..64 => Some(&mut self.first),
            _ => usize::try_from(offset / 64 - 1)
                .ok()
                .and_then(|word| self.more.get_mut(word)),
        };
        let bit = 1 << (offset % 64);
        match word {
            Some(word) if is_used => *word |= bit,
            Some(word) => *word &= !bit,
            None => {}
        }
    }

    /// How many were used without a gap.
    pub(super) fn leading(&self) -> u64 {
        let mut leading = 0;
        for word in self.words() {
            leading += u64::from(word.trailing_ones());
            if word != u64::MAX {
                break;
            }
        }
        leading
    }

    /// The first offset from which on none was used.
    pub(super) fn end(&self) -> u64 {
        let words = self.words().zip(1..);
        let last = words.filter(|(word, _)| *word != 0).last();
        last.map_or(0, |(word, words): (u64, u64)| {
            64 * words - u64::from(word.leading_zeros())
        })
    }

    /// Forgets the first ones.
    pub(super) fn forget(&mut self, by: u64) {
        if self.more.is_empty() {
            self.first = self.first.checked_shr(by as u32).unwrap_or(0);
            return;
        }
        let (words, bits) = ((by / 64) as usize, by % 64);
        let word = |used: &Self, at: usize| match at {
            0 => used.first,
            at => used.more.get(at - 1).copied().unwrap_or(0),
        };
        for at in 0..self.len() {
            let (low, high) = (word(self, at + words), word(self, at + words + 1));
            let both = if bits == 0 {
                low
            } else {
                low >> bits | high << (64 - bits)
            };
            match at {
                0 => self.first = both,
                at => self.more[at - 1] = both,
            }
        }
    }
}
