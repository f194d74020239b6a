//! What an invariant looks at.

use candid::Principal;

use super::schedule::Step;
use super::state::Client;
use super::world::World;
use crate::canister::Status;
use crate::composite::{QueryCall, QueryTree};
use crate::errors::Reject;
use crate::in_process::InProcess;

/// A system between two steps: everything that was executed has been committed, nothing is half done.
#[derive(Debug)]
pub struct View<'a> {
    pub(super) world: &'a mut World,
}

impl View<'_> {
    /// Asks a query as the anonymous user, of a canister that is stopped or has no cycles, too. An uninstalled one has
    /// nothing to say.
    pub fn query(
        &mut self,
        canister: Principal,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, Reject> {
        let host = &mut self.world.host;
        let before = host.replica.canisters.get_mut(&canister).map(|canister| {
            let running = std::mem::replace(&mut canister.status, Status::Running);
            let free = std::mem::replace(&mut canister.free, true);
            (running, free)
        });
        // Without a certificate, which would take longer than most queries.
        let call = QueryCall {
            sender: Principal::anonymous(),
            receiver: canister,
            method: method.to_owned(),
            payload,
            data_certificate: None,
        };
        let answer = host.replica.evaluate(call, &mut QueryTree::default());
        if let (Some((status, free)), Some(canister)) =
            (before, host.replica.canisters.get_mut(&canister))
        {
            canister.status = status;
            canister.free = free;
        }
        answer
    }

    /// What the user got for a message: `None` as long as there is no answer, and for good if it was lost.
    pub fn answer(&self, message: usize) -> Option<&Result<Vec<u8>, Reject>> {
        match self.world.state.clients.get(message)? {
            Client::Answered(answer) => Some(answer),
            Client::Waiting | Client::Sent | Client::Lost => None,
        }
    }

    /// Whether the user will never learn what became of a message.
    pub fn is_lost(&self, message: usize) -> bool {
        self.world.state.clients.get(message) == Some(&Client::Lost)
    }

    /// The faults on the way by which this state was first reached, in order. No other way has fewer, though there may be one with
    /// others.
    pub fn faults(&self) -> &[Step] {
        &self.world.faults
    }

    /// The calls that a canister waits for the answers to, the earliest first: whom it has called, and which method.
    pub fn calls(&self, canister: Principal) -> impl Iterator<Item = (Principal, &str)> {
        let saved = self.world.state.canisters.get(&canister).into_iter();
        let callbacks = saved.flat_map(|saved| saved.canister.calls.callbacks());
        callbacks.map(|(_, callback)| (callback.callee, &*callback.method))
    }

    /// Nanoseconds since the epoch.
    pub fn time_ns(&self) -> u64 {
        self.world.state.time_ns
    }

    /// Everything else. What an invariant changes here may or may not be there in the next step: it has to look only.
    pub fn host(&mut self) -> &mut InProcess {
        &mut self.world.host
    }
}
