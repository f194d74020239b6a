//! The nodes of a subnet: all requests of an outcall, sent at the same time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pocket_ic::common::rest::CanisterHttpRequest;
use reqwest::Client;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::NODES;
use super::node::{self, Heard};
use super::plan::{Fate, NodeFate};

/// Requests under way at a time: less than a process may have open files, server included.
const AT_A_TIME: usize = 200;

/// Their clients, and what these run in.
pub(super) struct Nodes {
    clients: Vec<Client>,
    permits: Arc<Semaphore>,
    runtime: Runtime,
    /// How long each waits for an answer.
    pub(super) patience: Duration,
}

/// What a node is going to say.
pub(super) struct Answer {
    fate: NodeFate,
    /// The same request, sent as often as it arrives.
    requests: Vec<JoinHandle<Heard>>,
    /// What it says where it sends none.
    heard: Heard,
}

impl Nodes {
    pub(super) fn new() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self {
            clients: (0..NODES).map(node::client).collect(),
            permits: Arc::new(Semaphore::new(AT_A_TIME)),
            runtime: runtime.expect("a runtime"),
            patience: Duration::from_secs(2),
        }
    }

    /// Starts the requests of an outcall, once there is room for all of them: a server may wait for the last one before it answers
    /// the first.
    pub(super) fn start(
        &self,
        outcall: &Arc<CanisterHttpRequest>,
        fate: &Fate,
        server: Option<SocketAddr>,
    ) -> Vec<Answer> {
        let arriving: usize = fate.nodes.iter().map(|fate| fate.times()).sum();
        let arriving = u32::try_from(arriving).expect("a few requests");
        let permit = self.permits.clone().acquire_many_owned(arriving);
        let permit = self.runtime.block_on(permit);
        let permit = Arc::new(permit.expect("the semaphore is never closed"));
        let start = |(index, fate_of_node): (usize, &NodeFate)| {
            if let Err(heard) = node::check(outcall) {
                return Answer::at_once(NodeFate::NOT_SENT, heard);
            }
            match (*fate_of_node, server) {
                (NodeFate::Refused, _) => {
                    let why = "Connection refused (os error 111)";
                    Answer::at_once(NodeFate::Refused, node::no_connection(&outcall.url, why))
                }
                (NodeFate::RequestLost, _) => {
                    Answer::at_once(NodeFate::RequestLost, Heard::Nothing)
                }
                (NodeFate::Sent { .. }, None) => Answer::at_once(
                    NodeFate::NOT_SENT,
                    node::no_connection(&outcall.url, "dns error"),
                ),
                (fate_of_node @ NodeFate::Sent { times, .. }, Some(server)) => {
                    let node = (fate.first_node + index) % NODES;
                    let send = |_| {
                        let (client, outcall) = (self.clients[node].clone(), outcall.clone());
                        let (permit, patience) = (permit.clone(), self.patience);
                        self.runtime.spawn(async move {
                            let heard = node::send(&client, server, &outcall, patience).await;
                            drop(permit);
                            heard
                        })
                    };
                    Answer {
                        fate: fate_of_node,
                        requests: (0..times).map(send).collect(),
                        heard: Heard::Nothing,
                    }
                }
            }
        };
        fate.nodes.iter().enumerate().map(start).collect()
    }

    /// Waits for the answers of an outcall. Of several to the same request, the first one's is heard.
    pub(super) fn finish(&self, answers: Vec<Answer>) -> Vec<(NodeFate, Heard)> {
        self.runtime.block_on(async {
            let mut all = Vec::with_capacity(answers.len());
            for answer in answers {
                let mut heard = None;
                for request in answer.requests {
                    let this = request.await.expect("a request doesn't panic");
                    heard.get_or_insert(this);
                }
                all.push((answer.fate, heard.unwrap_or(answer.heard)));
            }
            all
        })
    }
}

impl Answer {
    fn at_once(fate: NodeFate, heard: Heard) -> Self {
        let requests = Vec::new();
        Self {
            fate,
            requests,
            heard,
        }
    }
}
