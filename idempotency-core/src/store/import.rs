//! Partitions for requests that were executed before the store was there.

use super::{Store, room::partition_length};
use crate::{table::Damaged, time::Timestamp};
use ic_stable_structures::Memory;

impl<M: Memory> Store<M> {
    /// Begins all partitions in which a request of the last window may lie. Partitions stand in the order in which they expire, and
    /// a new one is always the last. So without this, a request that runs during an import begins a late partition, and all that
    /// is imported after it goes there and is remembered for too long.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(crate) fn begin_partitions(&self, now: Timestamp) -> Result<(), Damaged> {
        let mut inner = self.inner()?;
        let (now, length) = (now.as_nanos(), partition_length(&self.policy));
        let latest = now.saturating_add(self.policy.reach());
        let newest = inner.requests.newest().map(|newest| newest.until);
        let mut until = newest.filter(|until| *until >= now);
        while until.is_none_or(|until| until < latest) && inner.has_place_for_partition() {
            let next = match until {
                None => now.div_ceil(length),
                Some(until) => until / length + 1,
            };
            let next = next.saturating_mul(length);
            inner.begin_partition(next);
            until = Some(next);
        }
        Ok(())
    }
}
