//! The second look: a request that an archive may hold runs only when the archives have said that they don't.
//!
//! ```text
//! begin ──► run, replay, refuse
//!   └─────► await the archives ──► decide ──► run, replay, refuse     in the message of their answer
//! ```
//!
//! `admission::ask_archives` says when they are asked. While they are, nothing is reserved and nothing is recorded: an upgrade or a trap
//! leaves no trace. Several calls with one request may wait at a time. The first that is answered runs, and the others find its record at
//! their second look. That is all of the first look again, at the time of the answer: quota, capacity and window count as they are then,
//! and the call is charged then.

use super::{
    asking::{Archives, Asking},
    begin::{Begun, decide},
    endpoint::Endpoint,
    watch::watch,
};
use crate::{access::StoreAccess, runtime::Runtime};

/// Awaits the archives' answer, and decides in its message what becomes of the call.
pub(super) async fn look_again<A, R>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    mut asking: Asking,
) -> Begun<A> {
    loop {
        let Asking { call, answer } = asking;
        let (answer, _) = watch(runtime.clone(), answer).await;
        let archives = match answer {
            Ok(Some(archived)) => Archives::Hold(archived.record),
            Ok(None) => Archives::DontKnow,
            Err(error) => return Begun::Answer(endpoint.refusal(store, error)),
        };
        match decide(runtime, store, endpoint, call, archives) {
            Ok(begun) => return begun,
            Err(again) => asking = again,
        }
    }
}
