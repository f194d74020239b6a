//! What `#[idempotent]` leaves beside a function for `inspect!` and `endpoint!`.

use super::endpoint::Endpoint;
use crate::access::AnyStore;

/// An endpoint and its store. `S` says who shares its key space, `I` how its requests are told from one another.
#[allow(missing_debug_implementations)] // it holds functions
pub struct Attribute<A, R, S, I> {
    /// The method.
    pub endpoint: Endpoint<A, R>,
    /// `store`
    pub store: &'static dyn AnyStore,
    /// `scope`
    pub scope: S,
    /// `key` or `sequence`
    pub id: I,
}
