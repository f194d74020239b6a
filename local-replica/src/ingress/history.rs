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

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Principal = Principal::anonymous();
    const SUBNET: Principal = Principal::management_canister();

    fn history(ids: &[u8], subnet: Principal, expiry_ns: u64) -> IngressHistory {
        let mut history = IngressHistory::default();
        for id in ids {
            history.sign(vec![*id], subnet, expiry_ns);
            history.expect(vec![*id], NOBODY, NOBODY);
        }
        history
    }

    #[test]
    fn message_is_unknown_then_received_then_processing_then_answered() {
        let mut history = history(&[1], SUBNET, 100);
        assert_eq!(history.status(&[1], |_| true), None);
        assert_eq!(history.parties(&[1]), None);
        assert!(history.induct(&[1], 50));
        assert_eq!(
            history.status(&[1], |_| true),
            Some(RequestStatus::Received)
        );
        let processing = Some(RequestStatus::Processing);
        assert_eq!(history.status(&[1], |_| false), processing);
        history.drop_replies();
        assert_eq!(history.status(&[1], |_| false), processing);
        history.complete(vec![1], Ok(vec![7]), 60);
        let replied = Some(RequestStatus::Replied(vec![7]));
        assert_eq!(history.status(&[1], |_| false), replied);
        history.drop_replies();
        let done = Some(RequestStatus::Done);
        assert_eq!(history.status(&[1], |_| false), done);
    }

    #[test]
    fn message_is_taken_in_until_its_expiry_and_not_after() {
        assert!(history(&[1], SUBNET, 100).induct(&[1], 100));
        let mut late = history(&[1], SUBNET, 100);
        assert!(!late.induct(&[1], 101));
        assert!(!late.has_signed(&[1]));
        assert_eq!(late.result(&[1]), None);
    }

    #[test]
    fn answer_is_kept_for_five_minutes_and_until_the_expiry() {
        for (expiry_ns, answered_ns) in [(100, 90), (ANSWER_TTL_NS * 2, 90)] {
            let mut history = history(&[1], SUBNET, expiry_ns);
            assert!(history.induct(&[1], 80));
            history.complete(vec![1], Ok(Vec::new()), answered_ns);
            let until_ns = expiry_ns.max(answered_ns + ANSWER_TTL_NS);
            history.prune(until_ns);
            assert!(history.has_signed(&[1]), "{expiry_ns}");
            history.prune(until_ns + 1);
            assert!(!history.has_signed(&[1]), "{expiry_ns}");
            assert_eq!(history.result(&[1]), None);
        }
    }

    #[test]
    fn unanswered_message_is_never_forgotten() {
        let mut history = history(&[1], SUBNET, 100);
        assert!(history.induct(&[1], 80));
        history.prune(u64::MAX);
        assert!(history.has_signed(&[1]));
    }

    #[test]
    fn neighbours_are_known_and_on_the_same_subnet() {
        let mut history = history(&[1, 3, 5, 7, 9], SUBNET, 100);
        for id in [1, 3, 7, 9] {
            assert!(history.induct(&[id], 50));
        }
        history.sign(vec![4], NOBODY, 100);
        history.expect(vec![4], NOBODY, NOBODY);
        assert!(history.induct(&[4], 50));
        let around = |label: u8| -> Vec<u8> {
            let ids = history.around(SUBNET, &[label]);
            ids.into_iter().flatten().collect()
        };
        assert_eq!(around(0), [1, 3]);
        assert_eq!(around(3), [1, 3, 7]);
        assert_eq!(around(5), [3, 7, 9], "the fifth is not known yet");
        assert_eq!(around(10), [9]);
    }
}
