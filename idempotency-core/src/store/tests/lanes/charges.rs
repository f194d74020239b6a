//! What a scope is charged for, in the plainest way: a list of what was counted, and until when.

use super::model::reach;
use crate::policy::Policy;
use std::collections::BTreeSet;

const BUCKETS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Charges {
    counted: Vec<Charge>,
    /// There were more ends than buckets: until then nobody can say when which of them is over.
    joined_until: u64,
}

#[derive(Debug)]
struct Charge {
    end: u64,
    entries: u64,
    bytes: u64,
}

/// A reply as it is counted.
pub(super) fn counted(reply_bytes: u64) -> u64 {
    reply_bytes.div_ceil(64) * 64
}

impl Charges {
    /// Counts what is held until `until`; until when it counts, which is up to a sixth of the reach longer.
    pub(super) fn count(
        &mut self,
        now: u64,
        until: u64,
        entries: u64,
        reply_bytes: u64,
        policy: &Policy,
    ) -> u64 {
        if now > self.joined_until {
            self.counted.retain(|charge| charge.end >= now);
        }
        let length = (reach(policy) / 6).max(1);
        let end = until.div_ceil(length) * length;
        self.counted.push(Charge {
            end,
            entries,
            bytes: counted(reply_bytes),
        });
        let ends: BTreeSet<u64> = self.counted.iter().map(|charge| charge.end).collect();
        let live = ends.range(now..).count();
        if live > BUCKETS || now <= self.joined_until {
            self.joined_until = ends.last().copied().unwrap_or(0);
        }
        end
    }

    /// Requests and bytes of replies at a time: at least, and at most.
    pub(super) fn at(&self, time: u64) -> [(u64, u64); 2] {
        let sum = |may_be_over: bool| {
            let counts = (self.counted.iter()).filter(|charge| may_be_over || charge.end >= time);
            counts.fold((0, 0), |(entries, bytes), charge| {
                (entries + charge.entries, bytes + charge.bytes)
            })
        };
        [sum(false), sum(time <= self.joined_until)]
    }
}
