//! The state of a system between two steps, and its digest.
//!
//! What the digest leaves out can't make a difference to what a canister does: cycles, version and the instructions of a
//! call context unless the module imports a system call that tells them; ids of contexts and callbacks, of which only the
//! order counts; the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use candid::Principal;

use super::spares::Spares;
use crate::call_context::{CallContext, Callback, Origin, Request, Response};
use crate::canister::{Canister, Code, Status};
use crate::engine::{HeapSnapshot, StableDigests, Trap};
use crate::errors::Reject;
use crate::replica::Random;
use crate::topology::Topology;

/// 128 bits: that two of a billion states share one is as likely as 1 in 10^20.
pub(super) type Digest = [u8; 16];

/// What a user knows of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// Not delivered yet.
    Waiting,
    /// Delivered, not yet answered.
    Sent,
    /// Will never be answered.
    Lost,
    Answered(Arc<Result<Vec<u8>, Reject>>),
}

/// Everything that a step can change.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) time_ns: u64,
    pub(super) canisters: BTreeMap<Principal, Arc<Saved>>,
    /// Calls on their way, of each pair in order.
    pub(super) requests: BTreeMap<(Principal, Principal), VecDeque<Arc<Request>>>,
    /// Answers on their way, by caller and callback.
    pub(super) responses: BTreeMap<(Principal, u64), Arc<Response>>,
    pub(super) clients: Vec<Client>,
    /// Cycles that canisters have to get back.
    pub(super) drained: BTreeMap<Principal, u128>,
    /// Canisters that a fault has stopped.
    pub(super) stopped: BTreeSet<Principal>,
    /// How often time may still pass.
    pub(super) time_left: u32,
    pub(super) random: Random,
    pub(super) topology: Arc<Topology>,
}

/// A canister between two steps.
#[derive(Debug)]
pub(super) struct Saved {
    /// Without its code.
    pub(super) canister: Canister,
    code: Option<(HeapSnapshot, usize)>,
    stable: StableDigests,
    digest: Digest,
}

impl Saved {
    /// Costs what has changed since `before`.
    pub(super) fn new(canister: &mut Canister, before: Option<&Self>) -> Result<Self, Trap> {
        let code = match &mut canister.code {
            Some(code) => Some((code.instance.save()?, code.wasm_len)),
            None => None,
        };
        let stable = StableDigests::of(&canister.stable, before.map(|before| &before.stable));
        let mut saved = Self {
            canister: canister.without_code(),
            code,
            stable,
            digest: Digest::default(),
        };
        let mut hasher = Blake3::default();
        saved.hash_canister(&mut hasher);
        saved.digest = hasher.digest();
        Ok(saved)
    }

    /// The canister again; `old` is the one that is there now, if any.
    pub(super) fn load(
        &self,
        old: Option<Canister>,
        spares: &mut Spares,
    ) -> Result<Canister, Trap> {
        let old = old.and_then(|old| old.code).map(|code| code.instance);
        let mut canister = self.canister.without_code();
        canister.code = match &self.code {
            Some((heap, wasm_len)) => Some(Code {
                instance: spares.load(heap, old)?,
                wasm_len: *wasm_len,
            }),
            None => {
                if let Some(old) = old {
                    spares.put(old);
                }
                None
            }
        };
        Ok(canister)
    }

    /// The place of a callback among those that the canister waits for.
    pub(super) fn rank(&self, callback: u64) -> usize {
        let earlier = self.canister.calls.callbacks();
        earlier.take_while(|(id, _)| *id < callback).count()
    }

    /// The callback at a place.
    pub(super) fn callback(&self, rank: usize) -> Option<(u64, &Callback)> {
        self.canister.calls.callbacks().nth(rank)
    }

    /// Bytes that this doesn't share with `other`.
    pub(super) fn bytes_beyond(&self, other: &Self) -> usize {
        const BOOKKEEPING: usize = 2_048;
        let heap = match (&self.code, &other.code) {
            (Some((own, _)), Some((other, _))) => own.bytes_beyond(other),
            (Some((own, _)), None) => own.bytes_beyond(own),
            (None, _) => 0,
        };
        heap + self.stable.bytes_beyond(&other.stable) + BOOKKEEPING
    }

    /// Whom the contexts answer to is left to the whole state: the place of a callback depends on another canister.
    fn hash_canister(&self, hasher: &mut Blake3) {
        let canister = &self.canister;
        let code = self.code.as_ref().map(|(heap, _)| heap);
        code.hash(hasher);
        self.stable.hash(hasher);
        canister.certified_data.hash(hasher);
        canister.global_timer.hash(hasher);
        canister.settings.controllers.hash(hasher);
        canister.settings.freezing_threshold.hash(hasher);
        canister.chunks.hash(hasher);
        canister.status.hash(hasher);
        let sees = code.map(|heap| heap.module().sees());
        if sees.is_some_and(|sees| sees.cycles) {
            canister.cycles.hash(hasher);
        }
        if sees.is_some_and(|sees| sees.version) {
            canister.version.hash(hasher);
        }
        let calls = &canister.calls;
        let contexts: Vec<(u64, &CallContext)> = calls.contexts().collect();
        contexts.len().hash(hasher);
        for (_, context) in &contexts {
            let CallContext {
                origin: _,
                sender,
                deadline_ns,
                cycles_available,
                instructions,
                responded,
                deleted,
                outstanding,
            } = context;
            (sender, deadline_ns, cycles_available).hash(hasher);
            (responded, deleted, outstanding).hash(hasher);
            if sees.is_some_and(|sees| sees.instructions) {
                instructions.hash(hasher);
            }
        }
        for (_, callback) in calls.callbacks() {
            let Callback {
                context,
                callee,
                // For exceptions, which can see it.
                method,
                on_reply,
                on_reject,
                on_cleanup,
                deadline_ns,
                expired,
            } = callback;
            let context = contexts.iter().position(|(id, _)| id == context);
            (context, callee, method, on_reply, on_reject, on_cleanup).hash(hasher);
            (deadline_ns, expired).hash(hasher);
        }
    }
}

impl State {
    /// Equal for states from which the same can happen.
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = Blake3::default();
        let Self {
            time_ns,
            canisters,
            requests,
            responses,
            clients,
            drained,
            stopped,
            time_left,
            random,
            topology: _,
        } = self;
        (time_ns, clients, stopped, time_left, random).hash(&mut hasher);
        for (id, saved) in canisters {
            (id, saved.digest, drained.contains_key(id)).hash(&mut hasher);
            for (_, context) in saved.canister.calls.contexts() {
                self.hash_origin(&context.origin, &mut hasher);
            }
        }
        for (pair, waiting) in requests {
            (pair, waiting.len()).hash(&mut hasher);
            for request in waiting {
                let Request {
                    origin,
                    sender: _,
                    receiver: _,
                    method,
                    payload,
                    cycles,
                    deadline_ns,
                } = &**request;
                self.hash_origin(origin, &mut hasher);
                (method, payload, cycles, deadline_ns).hash(&mut hasher);
            }
        }
        for ((caller, callback), response) in responses {
            let place = self.rank(*caller, *callback);
            (caller, place, &response.result, response.refund).hash(&mut hasher);
        }
        hasher.digest()
    }

    /// The place of a callback among those that a canister waits for.
    pub(super) fn rank(&self, caller: Principal, callback: u64) -> usize {
        let caller = self.canisters.get(&caller);
        caller.map_or(0, |caller| caller.rank(callback))
    }

    /// The callback at a place.
    pub(super) fn callback(&self, caller: Principal, rank: usize) -> Option<(u64, &Callback)> {
        self.canisters.get(&caller)?.callback(rank)
    }

    /// Bytes that this doesn't share with `other`.
    pub(super) fn bytes_beyond(&self, other: &Self) -> usize {
        const BOOKKEEPING: usize = 1_024;
        let canisters = self
            .canisters
            .iter()
            .map(|(id, own)| match other.canisters.get(id) {
                Some(other) if Arc::ptr_eq(own, other) => 0,
                Some(other) => own.bytes_beyond(other),
                None => own.bytes_beyond(own),
            });
        canisters.sum::<usize>() + BOOKKEEPING
    }

    fn hash_origin(&self, origin: &Origin, hasher: &mut Blake3) {
        match origin {
            Origin::Canister { id, callback } => (id, self.rank(*id, *callback)).hash(hasher),
            Origin::Ingress(id) => id.hash(hasher),
            Origin::System => 0.hash(hasher),
        }
    }

    /// Whether a canister is running.
    pub(super) fn is_running(&self, id: Principal) -> bool {
        let canister = self.canisters.get(&id);
        canister.is_some_and(|saved| saved.canister.status == Status::Running)
    }
}

impl Saved {
    /// Whether there is code.
    pub(super) fn has_code(&self) -> bool {
        self.code.is_some()
    }

    /// The module that is installed.
    pub(super) fn module(&self) -> Option<&crate::engine::Module> {
        self.code.as_ref().map(|(heap, _)| heap.module())
    }
}

/// For `#[derive(Hash)]`, with a hash that no canister can find a collision of.
#[derive(Default)]
pub(super) struct Blake3(blake3::Hasher);

impl Blake3 {
    pub(super) fn digest(&self) -> Digest {
        let hash = self.0.finalize();
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not asked for: digests are longer.
    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        let start = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(start)
    }
}
