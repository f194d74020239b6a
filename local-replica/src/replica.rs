//! The state of one instance.

use std::collections::{BTreeMap, VecDeque};

use candid::Principal;
use pocket_ic::common::rest::{InitialTime, InstanceConfig};
use sha2::{Digest, Sha256};

use crate::call_context::{Origin, Request, Response};
use crate::canister::{Canister, Input};
use crate::cycles;
use crate::errors::{ApiError, Reject};
use crate::faults::Faults;
use crate::http_outcalls::Outcalls;
use crate::ingress::IngressHistory;
use crate::management::SubnetRequest;
use crate::topology::Topology;

/// 6 May 2021 21:17:10 CEST, the time a new instance starts at.
pub const GENESIS_NS: u64 = 1_620_328_630_000_000_000;
/// Calls from one canister to another that may wait for an answer at once.
const CALLS_PER_PAIR: usize = 500;

/// All canisters of an instance and the messages between them.
#[derive(Debug)]
pub struct Replica {
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// The subnets.
    pub topology: Topology,
    /// All canisters, in the order the rounds visit them.
    pub canisters: BTreeMap<Principal, Canister>,
    /// What became of each ingress message.
    pub ingress: IngressHistory,
    /// Pending HTTPS outcalls.
    pub outcalls: Outcalls,
    /// Calls to the management canister that wait for execution.
    pub subnet_inputs: VecDeque<SubnetRequest>,
    /// `raw_rand` calls: answered at the start of the next round, so that no one knows the result when calling.
    pub postponed: Vec<Request>,
    /// Messages between canisters, delivered when every canister had its turn.
    pub outbox: VecDeque<Outgoing>,
    /// What goes wrong; nothing unless asked for.
    pub faults: Faults,
    random: Random,
}

/// A message on its way to a canister.
#[derive(Debug)]
pub enum Outgoing {
    /// A call.
    Request(Request),
    /// An answer, and whom it goes to.
    Response(Principal, Response),
}

/// SHA-256 of a counter: the same for every run.
#[derive(Debug, Default)]
struct Random {
    counter: u64,
}

impl Replica {
    /// An instance without canisters.
    pub fn new(config: &InstanceConfig) -> Result<Self, ApiError> {
        let time_ns = match &config.initial_time {
            Some(InitialTime::Timestamp(time)) if time.nanos_since_epoch < GENESIS_NS => {
                return Err(ApiError::bad_request(format!(
                    "The initial timestamp (unix timestamp in nanoseconds) must be no earlier than {GENESIS_NS} (provided {}).",
                    time.nanos_since_epoch
                )));
            }
            Some(InitialTime::Timestamp(time)) => time.nanos_since_epoch,
            Some(InitialTime::AutoProgress(_)) | None => GENESIS_NS,
        };
        Ok(Self {
            time_ns,
            topology: Topology::new(&config.subnet_config_set)?,
            canisters: BTreeMap::new(),
            ingress: IngressHistory::default(),
            outcalls: Outcalls::default(),
            subnet_inputs: VecDeque::new(),
            postponed: Vec::new(),
            outbox: VecDeque::new(),
            faults: Faults::default(),
            random: Random::default(),
        })
    }

    /// Sets the time of the next round.
    pub fn set_time(&mut self, time_ns: u64) -> Result<(), ApiError> {
        if time_ns < self.time_ns {
            return Err(ApiError::bad_request(format!(
                "SettingTimeIntoPast: the new time {time_ns} is before the current time {}",
                self.time_ns
            )));
        }
        self.time_ns = time_ns;
        Ok(())
    }

    /// The canister, or the IC's reject.
    pub fn canister(&mut self, id: Principal) -> Result<&mut Canister, Reject> {
        self.canisters
            .get_mut(&id)
            .ok_or_else(|| Reject::canister_not_found(id))
    }

    /// 32 bytes that no two calls share.
    pub fn random_bytes(&mut self) -> [u8; 32] {
        self.random.counter += 1;
        Sha256::new()
            .chain_update(b"local-replica raw_rand")
            .chain_update(self.random.counter.to_be_bytes())
            .finalize()
            .into()
    }

    /// Gives the answer of a call to whoever waits for it.
    pub fn respond(&mut self, origin: Origin, result: Result<Vec<u8>, Reject>, refund: u128) {
        match origin {
            Origin::Ingress(id) => {
                let lost = self
                    .ingress
                    .receiver(&id)
                    .is_some_and(|receiver| self.faults.loses_ingress_answer(receiver));
                if lost {
                    self.ingress.lose(&id);
                } else {
                    self.ingress.complete(id, result);
                }
            }
            Origin::Canister { id, callback } => {
                let response = Response {
                    callback,
                    result,
                    refund,
                };
                self.outbox.push_back(Outgoing::Response(id, response));
            }
            Origin::System => {}
        }
    }

    /// Puts everything in the outbox into the queues of the receivers.
    pub fn deliver(&mut self) {
        // Refusing a request answers it, and that answer is delivered in the same pass.
        while let Some(message) = self.outbox.pop_front() {
            match message {
                Outgoing::Request(request) => self.deliver_request(request),
                Outgoing::Response(id, response) => self.deliver_response(id, response),
            }
        }
    }

    /// Queues a call, or answers it right away where it can't be queued.
    pub fn deliver_request(&mut self, request: Request) {
        match self.accept_request(&request) {
            Ok(()) if request.receiver == Principal::management_canister() => {
                let subnet = self
                    .canisters
                    .get(&request.sender)
                    .map_or(self.topology.default_subnet().id, |canister| {
                        canister.subnet
                    });
                self.subnet_inputs
                    .push_back(SubnetRequest { request, subnet });
            }
            Ok(()) => {
                if let Some(canister) = self.canisters.get_mut(&request.receiver) {
                    canister.inputs.push_back(Input::Request(request));
                }
            }
            Err(reject) => self.respond(request.origin, Err(reject), request.cycles),
        }
    }

    fn accept_request(&mut self, request: &Request) -> Result<(), Reject> {
        if let Origin::Canister { id, .. } = &request.origin {
            let outstanding = self
                .canisters
                .get(id)
                .map_or(0, |caller| caller.calls.outstanding_to(request.receiver));
            if outstanding > CALLS_PER_PAIR {
                return Err(Reject::new(
                    pocket_ic::ErrorCode::CanisterQueueFull,
                    format!(
                        "Canister {id} has too many calls in flight to {}",
                        request.receiver
                    ),
                ));
            }
        }
        if request.receiver == Principal::management_canister() {
            return Ok(());
        }
        self.canister(request.receiver)?.check_running()
    }

    fn deliver_response(&mut self, id: Principal, response: Response) {
        if let Some(response) = self.disturb_answer(id, response) {
            self.queue_response(id, response);
        }
    }

    /// Puts an answer into the caller's queue.
    pub(crate) fn queue_response(&mut self, id: Principal, response: Response) {
        let Some(caller) = self.canisters.get_mut(&id) else {
            return;
        };
        // After the wait has ended, the answer and the cycles in it are lost, as on the IC.
        if !caller.calls.awaits(response.callback) {
            return;
        }
        let bytes = match &response.result {
            Ok(reply) => reply.len(),
            Err(reject) => reject.for_canister().1.len(),
        };
        caller.charge(cycles::response(bytes));
        caller.inputs.push_back(Input::Response(response));
    }
}
