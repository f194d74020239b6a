//! A system that is being explored: the host, and the state that it is in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use candid::Principal;

use super::Error;
use super::schedule::Step;
use super::spares::Spares;
use super::spec::Spec;
use super::state::{Client, Saved, State};
use crate::canister::Input;
use crate::engine::Module;
use crate::in_process::InProcess;
use crate::replica::{Outgoing, Replica};

/// The host, always in `state` between two steps.
#[derive(Debug)]
pub(super) struct World {
    pub(super) host: InProcess,
    pub(super) state: State,
    pub(super) spares: Spares,
    /// Those on the way to `state`, for who looks at it.
    pub(super) faults: Vec<Step>,
}

impl World {
    /// Whether a host can be explored: nothing is on its way, and no canister has a heartbeat.
    pub(super) fn check(host: &InProcess) -> Result<(), Error> {
        if !is_quiet(&host.replica) {
            return Err(Error::Busy);
        }
        for (id, canister) in &host.replica.canisters {
            if canister.module().is_some_and(Module::has_heartbeat) {
                return Err(Error::Unsupported(format!("the heartbeat of {id}")));
            }
        }
        Ok(())
    }

    /// Starts from a host that was checked.
    pub(super) fn new(mut host: InProcess, spec: &Spec) -> Result<Self, Error> {
        let replica = &mut host.replica;
        let mut canisters = BTreeMap::new();
        let mut spares = Spares::default();
        for (id, canister) in &mut replica.canisters {
            if let Some(code) = &mut canister.code {
                spares.adopt(&mut code.instance)?;
            }
            canisters.insert(*id, Arc::new(Saved::new(canister, None)?));
        }
        let state = State {
            time_ns: replica.time_ns,
            canisters,
            requests: BTreeMap::new(),
            responses: BTreeMap::new(),
            clients: vec![Client::Waiting; spec.messages.len()],
            drained: BTreeMap::new(),
            stopped: BTreeSet::new(),
            time_left: spec.bounds.times,
            random: replica.random.clone(),
            topology: Arc::new(replica.topology.clone()),
        };
        replica.round_time_ns = replica.time_ns;
        Ok(Self {
            host,
            state,
            spares,
            faults: Vec::new(),
        })
    }

    fn replica(&mut self) -> &mut Replica {
        &mut self.host.replica
    }

    /// Puts the host into another state. Costs what differs.
    pub(super) fn go_to(&mut self, target: &State, spec: &Spec) -> Result<(), Error> {
        let replica = &mut self.host.replica;
        for (id, saved) in &target.canisters {
            let same = self.state.canisters.get(id);
            if !same.is_some_and(|same| Arc::ptr_eq(same, saved)) {
                let old = replica.canisters.remove(id);
                replica
                    .canisters
                    .insert(*id, saved.load(old, &mut self.spares)?);
            }
        }
        replica
            .canisters
            .retain(|id, _| target.canisters.contains_key(id));
        replica.time_ns = target.time_ns;
        replica.round_time_ns = target.time_ns;
        replica.random = target.random.clone();
        if !Arc::ptr_eq(&self.state.topology, &target.topology) {
            replica.topology = (*target.topology).clone();
        }
        for (number, client) in target.clients.iter().enumerate() {
            let id = message_id(number);
            replica.ingress.forget(&id);
            if *client == Client::Sent {
                let message = &spec.messages[number];
                replica.ingress.expect(id, message.sender, message.canister);
            }
        }
        // Left by a step that failed.
        replica.outbox.clear();
        replica.routed.clear();
        self.state = target.clone();
        Ok(())
    }

    /// After a step: takes up what it sent and what it changed.
    pub(super) fn settle(&mut self, touched: Option<Principal>) -> Result<(), Error> {
        self.replica().complete_stops();
        self.collect_messages();
        self.collect_answers();
        let replica = &mut self.host.replica;
        if !replica.outcalls.is_empty() {
            return Err(Error::Unsupported("HTTPS outcalls".to_owned()));
        }
        let ids: Vec<Principal> = match touched {
            Some(id) => vec![id],
            None => {
                self.state.random = replica.random.clone();
                self.state.topology = Arc::new(replica.topology.clone());
                let canisters = &mut self.state.canisters;
                canisters.retain(|id, _| replica.canisters.contains_key(id));
                replica.canisters.keys().copied().collect()
            }
        };
        for id in ids {
            self.save(id)?;
        }
        self.state.time_ns = self.replica().time_ns;
        Ok(())
    }

    fn save(&mut self, id: Principal) -> Result<(), Error> {
        let Some(canister) = self.host.replica.canisters.get_mut(&id) else {
            return Ok(());
        };
        // What is missing stands in rejects: it must not depend on the way to a state.
        if let Some(taken) = self.state.drained.get_mut(&id) {
            let total = taken.saturating_add(canister.cycles);
            canister.cycles = canister.freezing_limit();
            *taken = total.saturating_sub(canister.cycles);
        }
        let before = self.state.canisters.get(&id);
        let saved = Saved::new(canister, before.map(|saved| &**saved))?;
        self.state.canisters.insert(id, Arc::new(saved));
        Ok(())
    }

    /// Takes what canisters have sent off the replica: when it arrives is a step of its own.
    fn collect_messages(&mut self) {
        let replica = &mut self.host.replica;
        let sent = std::mem::take(&mut replica.outbox);
        let routed = std::mem::take(&mut replica.routed);
        for message in sent.into_iter().chain(routed) {
            match message {
                Outgoing::Request(request) => {
                    let pair = (request.sender, request.receiver);
                    let waiting = self.state.requests.entry(pair).or_default();
                    waiting.push_back(Arc::new(request));
                }
                Outgoing::Response(id, response) => {
                    let caller = self.host.replica.canisters.get(&id);
                    let awaited = caller.is_some_and(|it| it.calls.awaits(response.callback));
                    if awaited {
                        let place = (id, response.callback);
                        self.state.responses.insert(place, Arc::new(response));
                    }
                }
            }
        }
        // A wait has ended: the reject takes the place of an answer that comes too late.
        for (id, canister) in &mut self.host.replica.canisters {
            for input in std::mem::take(&mut canister.inputs) {
                if let Input::Response(response) = input {
                    let place = (*id, response.callback);
                    self.state.responses.insert(place, Arc::new(response));
                }
            }
        }
    }

    fn collect_answers(&mut self) {
        for (number, client) in self.state.clients.iter_mut().enumerate() {
            let id = message_id(number);
            let history = &mut self.host.replica.ingress;
            if *client == Client::Sent
                && let Some(answer) = history.result(&id).flatten()
            {
                history.forget(&id);
                *client = Client::Answered(Arc::new(answer));
            }
        }
    }
}

/// Nothing on its way, and nothing that an earlier plan of faults has left to do.
fn is_quiet(replica: &Replica) -> bool {
    let queues = replica.canisters.values().all(|it| it.inputs.is_empty());
    queues
        && replica.ingress.is_idle()
        && replica.outbox.is_empty()
        && replica.routed.is_empty()
        && replica.subnet_inputs.is_empty()
        && replica.postponed.is_empty()
        && replica.outcalls.is_empty()
        && replica.faults.is_off()
}

/// Under which the replica knows a user's message.
pub(super) fn message_id(number: usize) -> Vec<u8> {
    [b"explored".as_slice(), &number.to_be_bytes()].concat()
}
