//! Rounds: which messages are executed, and in which order.
//!
//! A round brings in ingress messages and what the last round sent to or from the management canister, executes what
//! that has to do, starts heartbeats and timers that are due, and then lets every canister in turn execute what was in
//! its queue. Calls and answers made meanwhile are delivered when every canister had its turn, and the canisters go on
//! until no one has anything left or the round's instructions are used up. All messages of a round see the same time,
//! and no two rounds have the same.

use candid::Principal;
use pocket_ic::ErrorCode;

use crate::call_context::Response;
use crate::canister::{Canister, Input, Status};
use crate::cycles::limit;
use crate::engine::Entry;
use crate::errors::Reject;
use crate::replica::Replica;

/// How long `stop_canister` waits.
const STOP_TIMEOUT_NS: u64 = 300_000_000_000;

impl Replica {
    /// Executes one round.
    pub fn round(&mut self) {
        if self.time_ns == self.round_time_ns {
            self.time_ns = self.time_ns.saturating_add(1);
        }
        self.end_faults();
        self.expire_calls();
        self.deliver_routed();
        self.induct_ingress();
        self.time_out_stops();
        self.time_out_outcalls();
        self.deliver_outcall_answers();
        self.answer_raw_rand();
        self.execute_subnet_inputs();
        self.start_tasks();
        let mut used = 0;
        loop {
            self.complete_stops();
            self.deliver();
            let busy: Vec<Principal> = self
                .canisters
                .values()
                .filter(|canister| !canister.inputs.is_empty())
                .map(|canister| canister.id)
                .collect();
            if busy.is_empty() || used >= limit::ROUND {
                break;
            }
            for id in busy {
                used += self.execute_turn(id, limit::ROUND.saturating_sub(used));
            }
        }
        for id in self.canisters.keys().copied().collect::<Vec<_>>() {
            self.renew_heap(id);
        }
        for canister in self.canisters.values_mut() {
            canister.charge_storage(self.time_ns);
            canister.forgive_installations();
        }
        self.round_time_ns = self.time_ns;
    }

    /// Upgrades a canister whose heap may be damaged, where that is asked for. One that can't be upgraded now is later.
    fn renew_heap(&mut self, id: Principal) {
        let is_damaged = |canister: &Canister| canister.has_taken_stray;
        if self.renews_heaps
            && self.canisters.get(&id).is_some_and(is_damaged)
            && self.upgrade_to_same_code(id).is_ok()
        {
            *self.renewed.entry(id).or_default() += 1;
        }
    }

    /// Executes what is in a canister's queue now; answers what it used.
    fn execute_turn(&mut self, id: Principal, budget: u64) -> u64 {
        let mut used = 0;
        let waiting = self
            .canisters
            .get(&id)
            .map_or(0, |canister| canister.inputs.len());
        for _ in 0..waiting {
            self.renew_heap(id);
            self.disturb_message(id);
            let input = self
                .canisters
                .get_mut(&id)
                .and_then(|canister| canister.inputs.pop_front());
            used += match input {
                Some(Input::Request(request)) => self.execute_request(request),
                Some(Input::Response(response)) => self.execute_response(id, response),
                Some(Input::Heartbeat) => self.execute_task(id, Entry::Heartbeat),
                Some(Input::GlobalTimer) => self.execute_task(id, Entry::GlobalTimer),
                None => break,
            };
            self.faults.message_over(id);
            used += limit::MESSAGE_OVERHEAD;
            if used >= budget {
                break;
            }
        }
        used
    }

    /// Ends the wait of best-effort calls whose deadline has passed; the callee goes on.
    pub(crate) fn expire_calls(&mut self) {
        for canister in self.canisters.values_mut() {
            for callback in canister.calls.expire(self.time_ns) {
                let reject =
                    Reject::plain(ErrorCode::DeadlineExpired, "Call deadline has expired.");
                canister.inputs.push_back(Input::Response(Response {
                    callback,
                    result: Err(reject),
                    refund: 0,
                }));
            }
        }
    }

    fn start_tasks(&mut self) {
        let time_ns = self.time_ns;
        for canister in self.canisters.values_mut() {
            if canister.status != Status::Running {
                continue;
            }
            let Some(module) = canister.module() else {
                continue;
            };
            let heartbeat = module.has_heartbeat();
            let timer = module.has_global_timer();
            if canister.global_timer != 0 && canister.global_timer <= time_ns {
                // One-shot: off before it runs, so that it can set itself again.
                canister.global_timer = 0;
                if timer {
                    canister.inputs.push_front(Input::GlobalTimer);
                }
            }
            if heartbeat {
                canister.inputs.push_front(Input::Heartbeat);
            }
        }
    }

    /// Stops the canisters that were waiting for their last outstanding call.
    pub(crate) fn complete_stops(&mut self) {
        let mut stopped = Vec::new();
        for canister in self.canisters.values_mut() {
            if matches!(canister.status, Status::Stopping(_)) && canister.calls.is_empty() {
                let status = std::mem::replace(&mut canister.status, Status::Stopped);
                canister.version += 1;
                if let Status::Stopping(waiting) = status {
                    stopped.extend(waiting);
                }
            }
        }
        for (request, _) in stopped {
            let reply = crate::management::empty_reply();
            self.respond(request.origin, Ok(reply), request.cycles);
        }
    }

    fn time_out_stops(&mut self) {
        let now = self.time_ns;
        let mut late = Vec::new();
        for canister in self.canisters.values_mut() {
            if let Status::Stopping(waiting) = &mut canister.status {
                late.extend(waiting.extract_if(.., |(_, since)| {
                    now.saturating_sub(*since) >= STOP_TIMEOUT_NS
                }));
            }
        }
        for (request, _) in late {
            let reject = Reject::new(
                ErrorCode::StopCanisterRequestTimeout,
                "Stop canister request timed out",
            );
            self.respond(request.origin, Err(reject), request.cycles);
        }
    }

    pub(crate) fn answer_raw_rand(&mut self) {
        for request in std::mem::take(&mut self.postponed) {
            let reply = crate::management::reply(&self.random_bytes().to_vec());
            self.respond(request.origin, reply, request.cycles);
        }
    }
}
