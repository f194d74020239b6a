//! The world outside of the replica: HTTPS outcalls that are really sent, over loopback, to real servers, as the nodes of a subnet
//! would send them, with the faults of a network.
//!
//! ```no_run
//! use integration_tests::outside::{Odds, Outside, Plan};
//! use integration_tests::{Canister, TEST_CANISTER, replica, user};
//!
//! # let server: std::net::SocketAddr = ([127, 0, 0, 1], 8080).into();
//! let replica = replica();
//! let canister = Canister::install(&replica, TEST_CANISTER, ());
//! let mut outside = Outside::new(7, [("shop.example", server)]);
//! outside.set_plan(Plan {
//!     outcall: Odds { answer_lost: 0.3, ..Odds::default() },
//!     ..Plan::default()
//! });
//! let args = ("https://shop.example/orders", "key", true, true);
//! let sent = canister.send(user(1), "outcall", args).expect("accepted");
//! outside.run(&replica, 100, || canister.answer_so_far::<Result<String, (u32, String)>>(&sent).is_some());
//! println!("{}", outside.report());
//! ```
//!
//! # What is as on the Internet Computer
//!
//! All 13 nodes make the request of a replicated outcall at the same time, each from an address of its own (127.0.0.2 to 127.0.0.14,
//! which needs Linux), with a client of its own that keeps its connections; one node, a random one, makes that of a non-replicated
//! outcall. A node takes `https` URLs only, follows no redirect, is called `ic/1.0` where the canister doesn't say otherwise, and
//! refuses what has more bytes than the request allows, with the IC's codes and texts. What each node has got goes to the replica,
//! which has the transform function run on it, and finds consensus or none.
//!
//! # What is not
//!
//! * There is no TLS: the URL says `https`, and plain HTTP goes to the address that is given for its authority. Another authority
//!   gets no connection.
//! * The replica takes the answers of all nodes at once, or none. While at most 4 of 13 nodes hear nothing, these report
//!   `Deadline Exceeded`, and so the outcall may end in "No consensus could be reached" where a subnet would wait for the minute to
//!   end; both are `SysTransient`. If more hear nothing, the outcall stays unanswered until its minute is over.
//! * A node waits for [`Outside::set_patience`] in real time, two seconds by default, not a minute in the replica's time.
//! * A replica that makes progress by itself sends outcalls by itself: tests execute the rounds.
//! * Faults are drawn from seed and number of an outcall, so they come again in the next run; what the servers do with requests that
//!   arrive at the same time does not.

mod node;
mod plan;
mod report;
mod sending;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Formatter};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use candid::Principal;
use pocket_ic::PocketIc;
use pocket_ic::common::rest::{
    CanisterHttpHeader, CanisterHttpReject, CanisterHttpReplication, CanisterHttpRequest,
    CanisterHttpResponse, MockCanisterHttpResponse,
};

use self::node::Heard;
use self::plan::{Fate, NodeFate};
pub use self::plan::{Odds, Plan, Window};
pub use self::report::Report;
use self::sending::Nodes;

/// The nodes of an application subnet.
const NODES: usize = 13;
/// How many of them may hear nothing.
const TOLERATED: usize = (NODES - 1) / 3;
/// After this, an outcall without an answer has ended.
const TIMEOUT: Duration = Duration::from_secs(61);

/// An outcall: its subnet, and its number there.
type Id = (Principal, u64);

/// The world outside of a replica. A test that panics prints seed, plan and [`Report`].
pub struct Outside {
    seed: u64,
    plan: Plan,
    servers: BTreeMap<String, SocketAddr>,
    nodes: Nodes,
    /// Answers on their way, and the step in which they are there.
    under_way: BTreeMap<Id, (u64, MockCanisterHttpResponse)>,
    /// Outcalls that stay unanswered.
    unanswered: BTreeSet<Id>,
    report: Report,
}

impl Outside {
    /// A world without faults, with these servers: authorities, as in `https://authority/path`, and where they listen.
    ///
    /// # Panics
    ///
    /// If the process can't have a runtime or clients.
    pub fn new<A: Into<String>>(
        seed: u64,
        servers: impl IntoIterator<Item = (A, SocketAddr)>,
    ) -> Self {
        let servers = servers.into_iter();
        Self {
            seed,
            plan: Plan::default(),
            servers: servers.map(|(name, at)| (name.into(), at)).collect(),
            nodes: Nodes::new(),
            under_way: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            report: Report::default(),
        }
    }

    /// What goes wrong with outcalls that are new from now on.
    pub fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// Where a server listens from now on, such as one that was started again.
    pub fn set_server(&mut self, authority: impl Into<String>, address: SocketAddr) {
        self.servers.insert(authority.into(), address);
    }

    /// There is no such server from now on.
    pub fn remove_server(&mut self, authority: &str) {
        self.servers.remove(authority);
    }

    /// How long a node waits for an answer, in real time.
    pub fn set_patience(&mut self, patience: Duration) {
        self.nodes.patience = patience;
    }

    /// What was sent, lost and delivered so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Outcalls whose answers are delayed.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Outcalls that are pending and stay so until their minute is over.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Sends the requests of all outcalls that are new, waits for the servers, and brings back the answers that are due. Executes no
    /// round. Returns how many outcalls it has sent or answered.
    ///
    /// # Panics
    ///
    /// If an outcall is flexible.
    pub fn step(&mut self, replica: &PocketIc) -> usize {
        let mut pending = replica.get_canister_http();
        pending.sort_unstable_by_key(id);
        self.forget_all_but(&pending);
        let known = |id: &Id| self.under_way.contains_key(id) || self.unanswered.contains(id);
        let new: Vec<CanisterHttpRequest> = pending
            .into_iter()
            .filter(|outcall| !known(&id(outcall)))
            .collect();
        let number = new.len();
        self.send(new);
        let delivered = self.deliver(replica);
        self.report.steps += 1;
        number + delivered
    }

    /// Takes steps, and has rounds executed, until something is done. When nothing else is left to do, lets time pass until the
    /// outcalls that are unanswered have ended.
    ///
    /// # Panics
    ///
    /// If it isn't done after so many steps.
    pub fn run(&mut self, replica: &PocketIc, steps: usize, mut done: impl FnMut() -> bool) {
        for _ in 0..steps {
            if done() {
                return;
            }
            let moved = self.step(replica);
            if moved == 0 && self.under_way.is_empty() && !self.unanswered.is_empty() {
                self.let_time_out(replica);
            }
            replica.tick();
            replica.tick();
        }
        assert!(done(), "not done after {steps} steps");
    }

    /// Lets a minute pass in the replica's time, and a round be executed: all outcalls that were pending have ended, those whose
    /// answers are under way, too.
    pub fn let_time_out(&mut self, replica: &PocketIc) {
        replica.advance_time(TIMEOUT);
        replica.tick();
    }

    fn forget_all_but(&mut self, pending: &[CanisterHttpRequest]) {
        let pending: BTreeSet<Id> = pending.iter().map(id).collect();
        let before = self.under_way.len();
        self.under_way.retain(|id, _| pending.contains(id));
        self.report.too_late += (before - self.under_way.len()) as u64;
        self.unanswered.retain(|id| pending.contains(id));
    }

    /// Sends all requests of some outcalls, and sorts out what comes back.
    fn send(&mut self, outcalls: Vec<CanisterHttpRequest>) {
        let mut sent = Vec::with_capacity(outcalls.len());
        for outcall in outcalls {
            let nodes = match outcall.replication {
                CanisterHttpReplication::FullyReplicated => {
                    self.report.replicated += 1;
                    NODES
                }
                CanisterHttpReplication::NonReplicated => {
                    self.report.non_replicated += 1;
                    1
                }
                CanisterHttpReplication::Flexible { .. } => {
                    panic!("flexible outcalls are not made: {}", outcall.url)
                }
            };
            let authority = node::authority(&outcall.url);
            let fate = self.plan.fate(
                self.seed,
                outcall.request_id,
                self.report.steps,
                authority,
                nodes,
            );
            let server = self.servers.get(authority).copied();
            let outcall = Arc::new(outcall);
            let answers = self.nodes.start(&outcall, &fate, server);
            sent.push((outcall, fate, answers));
        }
        for (outcall, fate, answers) in sent {
            let heard = self.nodes.finish(answers);
            self.sort_out(&outcall, &fate, heard);
        }
    }

    /// Makes the answer of an outcall from what its nodes have heard, if enough have.
    fn sort_out(
        &mut self,
        outcall: &CanisterHttpRequest,
        fate: &Fate,
        heard: Vec<(NodeFate, Heard)>,
    ) {
        let id = id(outcall);
        let nodes = heard.len();
        let mut responses = Vec::with_capacity(nodes);
        for (index, (fate_of_node, heard)) in heard.into_iter().enumerate() {
            let heard = self.count(fate_of_node, heard);
            responses.extend(heard.into_response().map(|mut response| {
                if fate.told_apart {
                    tell_apart(&mut response, outcall.request_id, index);
                }
                response
            }));
        }
        let tolerated = if nodes == NODES { TOLERATED } else { 0 };
        if responses.len() + tolerated < nodes {
            self.report.unanswered += 1;
            self.unanswered.insert(id);
            return;
        }
        self.report.told_apart += u64::from(fate.told_apart);
        self.report.delayed += u64::from(fate.delay > 0);
        responses.resize(nodes, deadline_exceeded());
        // So that it doesn't matter who was first.
        responses.sort_unstable();
        let response = responses.remove(0);
        let answer = MockCanisterHttpResponse {
            subnet_id: outcall.subnet_id,
            request_id: outcall.request_id,
            response,
            additional_responses: responses,
        };
        self.under_way
            .insert(id, (self.report.steps + fate.delay, answer));
    }

    /// Counts what became of a request, and loses the answer where the plan wants that.
    fn count(&mut self, fate: NodeFate, heard: Heard) -> Heard {
        let report = &mut self.report;
        report.sent += fate.times() as u64;
        report.duplicates += fate.times().saturating_sub(1) as u64;
        match (fate, &heard) {
            (NodeFate::Refused, _) => report.refused += 1,
            (NodeFate::RequestLost, _) => report.requests_lost += 1,
            (
                NodeFate::Sent {
                    answer_lost: true, ..
                },
                _,
            ) => {
                report.answers_lost += 1;
                return Heard::Nothing;
            }
            (NodeFate::Sent { .. }, Heard::Nothing) => report.not_answered += 1,
            (NodeFate::Sent { .. }, Heard::Broken(_)) => report.broken += 1,
            (NodeFate::Sent { .. }, Heard::OutOfBounds(_)) => report.out_of_bounds += 1,
            (NodeFate::Sent { .. }, Heard::Reply(_)) => {}
        }
        heard
    }

    /// Brings back the answers that are due.
    fn deliver(&mut self, replica: &PocketIc) -> usize {
        let now = self.report.steps;
        let due = self
            .under_way
            .extract_if(.., |_, (step, _)| *step <= now)
            .map(|(_, (_, answer))| answer)
            .collect::<Vec<_>>();
        let number = due.len();
        for answer in due {
            replica.mock_canister_http_response(answer);
        }
        self.report.delivered += number as u64;
        number
    }
}

impl Debug for Outside {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside")
            .field("seed", &self.seed)
            .field("plan", &self.plan)
            .field("servers", &self.servers)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self {
                seed, plan, report, ..
            } = self;
            eprintln!("outside: seed {seed}, {plan:?}: {report}");
        }
    }
}

fn id(outcall: &CanisterHttpRequest) -> Id {
    (outcall.subnet_id, outcall.request_id)
}

/// Gives a node's reply headers of its own.
fn tell_apart(response: &mut CanisterHttpResponse, request_id: u64, node: usize) {
    let CanisterHttpResponse::CanisterHttpReply(reply) = response else {
        return;
    };
    reply.headers.retain(|header| header.name != "date");
    for (name, value) in [
        ("date", format!("Thu, 01 Jan 2026 00:00:{node:02} GMT")),
        ("x-request-id", format!("{request_id}-{node}")),
    ] {
        let name = name.to_owned();
        reply.headers.push(CanisterHttpHeader { name, value });
    }
}

/// What a node reports that hears nothing.
fn deadline_exceeded() -> CanisterHttpResponse {
    CanisterHttpResponse::CanisterHttpReject(CanisterHttpReject {
        reject_code: node::SYS_TRANSIENT,
        message: "Deadline Exceeded".to_owned(),
    })
}
