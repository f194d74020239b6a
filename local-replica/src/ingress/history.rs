//! What became of each ingress message.
//!
//! A message that came through the protocol of PocketIC is remembered for as long as the instance lives. One that came
//! signed, through the Internet Computer's own interface, has a status there, as in the interface specification: unknown
//! until a round takes it in, then received, processing, and replied or rejected. Five minutes after it was answered, and not
//! before its ingress expiry, it is unknown again; it can't be sent again then. Whether its reply is still there or only
//! that it is done is up to the replica; here [`IngressHistory::drop_replies`] decides that.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use candid::Principal;
use pocket_ic::common::rest::RawCanisterCall;
use sha2::{Digest, Sha256};

use crate::errors::Reject;
use crate::management::SubnetRequest;

/// How long an answer can be read.
const ANSWER_TTL_NS: u64 = 300_000_000_000;

/// All ingress messages submitted to the instance and not yet forgotten.
#[derive(Debug, Default)]
pub struct IngressHistory {
    messages: BTreeMap<Vec<u8>, Ingress>,
    /// Those of them that came signed.
    signed: BTreeMap<Vec<u8>, Signed>,
    /// When which signed message is forgotten.
    prunings: BTreeSet<(u64, Vec<u8>)>,
    pub(super) pending: Vec<SubnetRequest>,
    submitted: u64,
}

#[derive(Debug)]
struct Ingress {
    sender: Principal,
    receiver: Principal,
    /// Answered, but the answer is never to be had.
    lost: bool,
    result: Option<Result<Vec<u8>, Reject>>,
}

#[derive(Debug)]
struct Signed {
    subnet: Principal,
    expiry_ns: u64,
    /// A round took it in.
    is_known: bool,
    reply_is_dropped: bool,
}

/// The status of a signed message, as the state tree has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestStatus {
    /// It waits for its canister.
    Received,
    /// The canister has taken it up.
    Processing,
    /// The reply.
    Replied(Vec<u8>),
    /// The reject.
    Rejected(Reject),
    /// Answered; the answer is gone.
    Done,
}

impl RequestStatus {
    /// As in the state tree.
    pub fn name(&self) -> &'static str {
        match self {
            RequestStatus::Received => "received",
            RequestStatus::Processing => "processing",
            RequestStatus::Replied(_) => "replied",
            RequestStatus::Rejected(_) => "rejected",
            RequestStatus::Done => "done",
        }
    }

    /// Whether nothing more comes.
    pub fn is_final(&self) -> bool {
        !matches!(self, RequestStatus::Received | RequestStatus::Processing)
    }
}

impl IngressHistory {
    /// Records the answer of a message.
    pub fn complete(&mut self, id: Vec<u8>, result: Result<Vec<u8>, Reject>, now_ns: u64) {
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        message.result = Some(result);
        if let Some(signed) = self.signed.get(&id) {
            let until_ns = now_ns.saturating_add(ANSWER_TTL_NS).max(signed.expiry_ns);
            self.prunings.insert((until_ns, id));
        }
    }

    /// The message's answer: `None` for an unknown message, `Some(None)` for one not yet answered.
    pub fn result(&self, id: &[u8]) -> Option<Option<Result<Vec<u8>, Reject>>> {
        self.messages.get(id).map(|message| message.result.clone())
    }

    /// Who sent a message.
    pub fn sender(&self, id: &[u8]) -> Option<Principal> {
        self.messages.get(id).map(|message| message.sender)
    }

    /// Whom a message is for.
    pub fn receiver(&self, id: &[u8]) -> Option<Principal> {
        self.messages.get(id).map(|message| message.receiver)
    }

    /// The message has been answered, but its status will never say so.
    pub fn lose(&mut self, id: &[u8]) {
        if let Some(message) = self.messages.get_mut(id) {
            message.lost = true;
        }
    }

    /// Keeps nothing of a message. It is executed all the same.
    pub fn forget(&mut self, id: &[u8]) {
        self.messages.remove(id);
        if !self.signed.is_empty() {
            self.signed.remove(id);
        }
    }

    /// Drops the answers of all signed messages that have one: from now on they are done.
    pub fn drop_replies(&mut self) {
        for (id, signed) in &mut self.signed {
            let message = self.messages.get(id);
            signed.reply_is_dropped |= message.is_some_and(|message| message.result.is_some());
        }
    }

    /// Nothing is on its way to a canister.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Expects the answer of a message that was brought to its canister by other means.
    pub(crate) fn expect(&mut self, id: Vec<u8>, sender: Principal, receiver: Principal) {
        let message = Ingress {
            sender,
            receiver,
            lost: false,
            result: None,
        };
        self.messages.insert(id, message);
    }

    pub(super) fn is_lost(&self, id: &[u8]) -> bool {
        self.messages.get(id).is_some_and(|message| message.lost)
    }

    /// An id for a message that has none of its own.
    pub(super) fn new_id(&mut self, call: &RawCanisterCall) -> Vec<u8> {
        self.submitted += 1;
        let mut hash = Sha256::new();
        for part in [
            &self.submitted.to_be_bytes()[..],
            &call.sender,
            &call.canister_id,
            call.method.as_bytes(),
            &call.payload,
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().to_vec()
    }

    /// Whether a signed message with this id was submitted and not yet forgotten.
    pub(super) fn has_signed(&self, id: &[u8]) -> bool {
        self.signed.contains_key(id)
    }

    /// Remembers until when a message can be taken in.
    pub(super) fn sign(&mut self, id: Vec<u8>, subnet: Principal, expiry_ns: u64) {
        let signed = Signed {
            subnet,
            expiry_ns,
            is_known: false,
            reply_is_dropped: false,
        };
        self.signed.insert(id, signed);
    }

    /// A round is about to take a message in. Answers whether it may: a signed one that has expired never runs.
    pub(super) fn induct(&mut self, id: &[u8], now_ns: u64) -> bool {
        if self.signed.is_empty() {
            return true;
        }
        match self.signed.get_mut(id) {
            Some(signed) if signed.expiry_ns < now_ns => {
                self.forget(id);
                false
            }
            Some(signed) => {
                signed.is_known = true;
                true
            }
            None => true,
        }
    }

    /// Forgets the signed messages whose time has come.
    pub(super) fn prune(&mut self, now_ns: u64) {
        while let Some((until_ns, _)) = self.prunings.first()
            && *until_ns < now_ns
        {
            if let Some((_, id)) = self.prunings.pop_first() {
                self.forget(&id);
            }
        }
    }

    /// The known signed message with this id on a subnet, the last one before it and the first one after it.
    pub(crate) fn around(&self, subnet: Principal, label: &[u8]) -> Vec<Vec<u8>> {
        let is_in_tree =
            |(_, signed): &(&Vec<u8>, &Signed)| signed.is_known && signed.subnet == subnet;
        let below = self
            .signed
            .range::<[u8], _>((Bound::Unbounded, Bound::Excluded(label)))
            .rfind(is_in_tree);
        let from = self
            .signed
            .range::<[u8], _>((Bound::Included(label), Bound::Unbounded))
            .filter(is_in_tree);
        // The one itself, if there is one, and the next.
        let ids = below.into_iter().chain(from.take(2));
        ids.map(|(id, _)| id.clone()).collect()
    }

    /// Sender and receiver of a known signed message.
    pub(crate) fn parties(&self, id: &[u8]) -> Option<(Principal, Principal)> {
        self.signed.get(id).filter(|signed| signed.is_known)?;
        let message = self.messages.get(id)?;
        Some((message.sender, message.receiver))
    }

    /// The status of a known signed message; `waits` says whether it is in its receiver's queue.
    pub(super) fn status(
        &self,
        id: &[u8],
        waits: impl FnOnce(Principal) -> bool,
    ) -> Option<RequestStatus> {
        let signed = self.signed.get(id).filter(|signed| signed.is_known)?;
        let message = self.messages.get(id)?;
        Some(match &message.result {
            Some(_) if signed.reply_is_dropped => RequestStatus::Done,
            Some(Ok(reply)) => RequestStatus::Replied(reply.clone()),
            Some(Err(reject)) => RequestStatus::Rejected(reject.clone()),
            None if !message.lost && waits(message.receiver) => RequestStatus::Received,
            None => RequestStatus::Processing,
        })
    }
}
