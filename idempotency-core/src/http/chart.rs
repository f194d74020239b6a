//! How full a store was over time, as a drawing.

use super::{
    observation::Observation,
    text::{Lasting, permille},
};
use crate::{store::Sample, time::Timestamp};
use std::fmt;

/// The samples of a store, from the first one until now. It is stretched to whatever room there is, so the words stand outside of it.
pub(super) struct Chart<'a> {
    observation: &'a Observation,
    first: Timestamp,
    now: Timestamp,
}

impl<'a> Chart<'a> {
    /// `None` if there is nothing to draw.
    pub(super) fn new(observation: &'a Observation, now: Timestamp) -> Option<Self> {
        let first = observation.samples.first()?.at;
        Some(Self {
            observation,
            first,
            now,
        })
    }

    /// A line of steps: what was sampled holds until the next sample, and what is now, now.
    fn steps(
        &self,
        f: &mut fmt::Formatter<'_>,
        of: impl Fn(&Sample) -> u64,
        (now, most): (u64, u64),
    ) -> fmt::Result {
        let height = |part| 1_000 - permille(part, most).min(1_000);
        for (number, sample) in self.observation.samples.iter().enumerate() {
            let (x, y) = (self.place(sample.at), height(of(sample)));
            match number {
                0 => write!(f, "M{x} {y}")?,
                _ => write!(f, "H{x}V{y}")?,
            }
        }
        write!(f, "H1000V{}", height(now))
    }

    /// Where a time stands, from the left, in thousandths.
    fn place(&self, at: Timestamp) -> u64 {
        let nanos = |to: Timestamp| to.as_nanos().saturating_sub(self.first.as_nanos());
        permille(nanos(at), nanos(self.now)).min(1_000)
    }
}

impl fmt::Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = &self.observation.stats;
        let entries = (stats.entries, stats.capacity);
        let bytes = (stats.bytes, stats.capacity_bytes);
        write!(
            f,
            "<figure>\
             <figcaption>Occupancy over time <span class=\"key\"><span class=\"entries\">requests</span> \
             <span class=\"bytes\">bytes</span></span></figcaption>\
             <div class=\"plot\"><div class=\"scale\" aria-hidden=\"true\"><span>100 %</span><span>50 %</span><span>0 %</span></div>\
             <svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Occupancy in per cent of the \
             capacity, over the last {}\">\
             <path class=\"guide\" d=\"M0 200H1000M0 500H1000\"/>\
             <path class=\"area\" d=\"",
            Lasting::between(self.first, self.now)
        )?;
        self.steps(f, |sample| sample.entries, entries)?;
        f.write_str("V1000H0Z\"/><path class=\"entries\" d=\"")?;
        self.steps(f, |sample| sample.entries, entries)?;
        f.write_str("\"/><path class=\"bytes\" d=\"")?;
        self.steps(f, |sample| sample.bytes, bytes)?;
        write!(
            f,
            "\"/></svg>\
             <div class=\"times\" aria-hidden=\"true\"><span>{} ago</span><span>now</span></div></div></figure>",
            Lasting::between(self.first, self.now)
        )
    }
}
