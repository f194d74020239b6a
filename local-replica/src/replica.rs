//! The state of one instance.

use std::collections::{BTreeMap, VecDeque};

use candid::Principal;
use pocket_ic::common::rest::{IcpConfigFlag, InitialTime, InstanceConfig};
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
    /// The time of the last round. Queries see it: a clock that was moved since shows in the next round.
    pub(crate) round_time_ns: u64,
    /// Decides in which order the ingress messages of a round are executed.
    pub order: u64,
    /// Whether installing code too often is refused.
    pub(crate) limits_installations: bool,
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
    /// Messages that leave the canisters' own scheduler, delivered in the next round: to and from the management
    /// canister, and rejects of calls that reach nobody.
    pub(crate) routed: VecDeque<Outgoing>,
    /// What goes wrong; nothing unless asked for.
    pub faults: Faults,
    /// Whether a canister is upgraded at once, to the module that it has, when it took an answer to a call from before an upgrade. The heap
    /// address that came back with it was another heap's, so that the CDK may have written anywhere. For tests of something else.
    pub renews_heaps: bool,
    /// How often each canister was upgraded for that.
    pub renewed: BTreeMap<Principal, u64>,
    pub(crate) random: Random,
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
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Random {
    pub(crate) counter: u64,
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
        let rate_limiting = config
            .icp_config
            .as_ref()
            .and_then(|config| config.canister_execution_rate_limiting.clone());
        let mut replica = Self {
            time_ns,
            round_time_ns: time_ns,
            order: 0,
            limits_installations: rate_limiting != Some(IcpConfigFlag::Disabled),
            topology: Topology::new(&config.subnet_config_set)?,
            canisters: BTreeMap::new(),
            ingress: IngressHistory::default(),
            outcalls: Outcalls::default(),
            subnet_inputs: VecDeque::new(),
            postponed: Vec::new(),
            outbox: VecDeque::new(),
            routed: VecDeque::new(),
            faults: Faults::default(),
            renews_heaps: false,
            renewed: BTreeMap::new(),
            random: Random::default(),
        };
        // As PocketIC does, so that there is a state to be queried.
        replica.round();
        Ok(replica)
    }

    /// Sets the time of the next round, if that is later than the last one.
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

    /// Sets the time that queries see. The next round is a nanosecond later.
    pub fn set_certified_time(&mut self, time_ns: u64) -> Result<(), ApiError> {
        self.set_time(time_ns)?;
        self.round_time_ns = time_ns;
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
                    self.ingress.complete(id, result, self.time_ns);
                }
            }
            Origin::Canister { id, callback } => {
                let callee = self
                    .canisters
                    .get(&id)
                    .and_then(|caller| caller.calls.callback(callback))
                    .map(|callback| callback.callee);
                let response = Outgoing::Response(
                    id,
                    Response {
                        callback,
                        result,
                        refund,
                    },
                );
                if callee == Some(Principal::management_canister()) {
                    self.routed.push_back(response);
                } else {
                    self.outbox.push_back(response);
                }
            }
            Origin::System => {}
        }
    }

    /// Puts everything in the outbox into the queues of the receivers. What isn't for a canister that takes it waits for
    /// the next round.
    pub fn deliver(&mut self) {
        while let Some(message) = self.outbox.pop_front() {
            match message {
                Outgoing::Request(request)
                    if request.receiver == Principal::management_canister() =>
                {
                    self.routed.push_back(Outgoing::Request(request));
                }
                Outgoing::Request(request) => match self.accept_request(&request) {
                    Ok(()) => self.queue_request(request),
                    Err(_) => self.routed.push_back(Outgoing::Request(request)),
                },
                Outgoing::Response(id, response) => self.deliver_response(id, response),
            }
        }
    }

    /// Delivers what the last round left; at the start of a round.
    pub(crate) fn deliver_routed(&mut self) {
        for message in std::mem::take(&mut self.routed) {
            match message {
                Outgoing::Request(request) => self.deliver_request(request),
                Outgoing::Response(id, response) => self.deliver_response(id, response),
            }
        }
    }

    /// Queues a call, or answers it where it can't be queued.
    pub fn deliver_request(&mut self, request: Request) {
        match self.accept_request(&request) {
            Ok(()) => self.queue_request(request),
            Err(reject) => self.respond(request.origin, Err(reject), request.cycles),
        }
    }

    fn queue_request(&mut self, request: Request) {
        if request.receiver == Principal::management_canister() {
            let subnet = self
                .canisters
                .get(&request.sender)
                .map_or(self.topology.default_subnet().id, |canister| {
                    canister.subnet
                });
            self.subnet_inputs
                .push_back(SubnetRequest { request, subnet });
        } else if let Some(canister) = self.canisters.get_mut(&request.receiver) {
            canister.inputs.push_back(Input::Request(request));
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
        let receiver = request.receiver;
        if receiver == Principal::management_canister() {
            return Ok(());
        }
        if self.topology.of_canister(receiver).is_none() {
            return Err(Reject::no_route(receiver));
        }
        let accepted = self.canister(receiver).and_then(|it| it.check_running());
        // Users are told the error's code, canisters but its text.
        accepted.map_err(|reject| match request.origin {
            Origin::Canister { .. } => Reject::plain(reject.error, reject.message),
            _ => reject,
        })
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
