//! Tasks of a canister's own that send something to archives.

use crate::runtime::{Canister, Runtime as _};
use std::future::Future;

/// Begins a task that no call waits for, as a timer does: what a canister sends to its archives besides requests.
///
/// ic-cdk finds the future that awaits an answer by its address in the heap. If an upgrade comes between a call and its answer, that is
/// written to an address of the next heap, which may damage it; and whoever makes calls by timer has some under way at any time. The calls of
/// such a task are answered to the heap that made them, or to nobody: then the task does not go on, and what it was about must be begun
/// again after the upgrade. A module whose functions have other numbers in the function table can still be called at the wrong one, as
/// with ic-cdk.
///
/// It may await [`SafeCall`](crate::SafeCall)s, one at a time, and nothing else: a task that awaits something else is dropped. After a trap
/// it is dropped in the cleanup.
pub fn in_background(task: impl Future<Output = ()> + 'static) {
    Canister.in_background(task);
}
