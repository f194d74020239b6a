//! Answers that a store counts: refusals, and replies that are sent again.

use super::endpoint::Endpoint;
use crate::{access::StoreAccess, error::IdempotencyError, store::Reply};

impl<A, R> Endpoint<A, R> {
    /// Tells the client of an error. If that is a trap, the count is undone with all else.
    pub(super) fn refusal(
        &self,
        store: &impl StoreAccess,
        error: IdempotencyError,
    ) -> Result<Vec<u8>, String> {
        store.with(|store| store.count_refusal(&error));
        self.refused(error)
    }

    /// Answers a retry with the reply that was kept.
    pub(super) fn replay(&self, store: &impl StoreAccess, reply: Reply) -> Result<Vec<u8>, String> {
        store.with(|store| store.count_replay());
        self.replayed(reply)
    }
}
