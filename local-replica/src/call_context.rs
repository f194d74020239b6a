//! Calls being served (contexts) and calls waiting for an answer (callbacks).

use std::collections::BTreeMap;
use std::sync::Arc;

use candid::Principal;

use crate::engine::Closure;
use crate::errors::Reject;

/// Who waits for the answer of a call context.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An external user, under this message id.
    Ingress(Vec<u8>),
    /// A canister, under this callback of its own.
    Canister {
        /// The calling canister.
        id: Principal,
        /// Its callback.
        callback: u64,
    },
    /// Nobody: a timer or heartbeat.
    System,
}

/// A call to a canister or to the management canister.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Who waits for the answer.
    pub origin: Origin,
    /// `msg_caller`
    pub sender: Principal,
    /// The canister called.
    pub receiver: Principal,
    /// Its method.
    pub method: String,
    /// Candid argument.
    pub payload: Vec<u8>,
    /// Cycles attached.
    pub cycles: u128,
    /// Nanoseconds since the epoch, or 0 for a guaranteed-response call.
    pub deadline_ns: u64,
}

/// The answer to a call, on its way to a callback.
#[derive(Clone, Debug, Hash)]
pub struct Response {
    /// Callback of the calling canister.
    pub callback: u64,
    /// Reply or reject.
    pub result: Result<Vec<u8>, Reject>,
    /// Cycles given back.
    pub refund: u128,
}

/// A call that the canister is serving.
#[derive(Clone, Debug, Hash)]
pub struct CallContext {
    /// Who waits for the answer.
    pub origin: Origin,
    /// `msg_caller`
    pub sender: Principal,
    /// Deadline of the call, or 0.
    pub deadline_ns: u64,
    /// Cycles attached and not yet accepted.
    pub cycles_available: u128,
    /// Instructions of all its messages so far.
    pub instructions: u64,
    /// Answered already.
    pub responded: bool,
    /// The code was uninstalled meanwhile: callbacks no longer run.
    pub deleted: bool,
    /// Calls made and not yet answered.
    pub outstanding: usize,
}

/// A call that the canister waits for.
#[derive(Clone, Debug, Hash)]
pub struct Callback {
    /// The context that made the call.
    pub context: u64,
    /// Whom it called.
    pub callee: Principal,
    /// What it called.
    pub method: Arc<str>,
    /// Runs on a reply.
    pub on_reply: Closure,
    /// Runs on a reject.
    pub on_reject: Closure,
    /// Runs when one of the other two traps.
    pub on_cleanup: Option<Closure>,
    /// When the wait ends, or 0.
    pub deadline_ns: u64,
    /// The wait ended: a reject is on its way, a late answer is dropped.
    pub expired: bool,
}

/// All contexts and callbacks of a canister.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    contexts: BTreeMap<u64, CallContext>,
    callbacks: BTreeMap<u64, Callback>,
    next_id: u64,
    /// Calls up to this id were made by heaps that are gone.
    gone_heaps: u64,
}

impl Calls {
    /// Neither serving nor waiting: a stopping canister is stopped now.
    pub fn is_empty(&self) -> bool {
        self.contexts.is_empty() && self.callbacks.is_empty()
    }

    /// The heap that made the calls so far is gone.
    pub(crate) fn begin_heap(&mut self) {
        self.gone_heaps = self.next_id;
    }

    /// Whether a heap made this call that is gone.
    pub(crate) fn is_of_earlier_heap(&self, callback: u64) -> bool {
        callback <= self.gone_heaps
    }

    /// Starts serving a call.
    pub fn open(&mut self, context: CallContext) -> u64 {
        let id = self.next_id();
        self.contexts.insert(id, context);
        id
    }

    /// A context that is still there.
    pub fn context(&mut self, id: u64) -> Option<&mut CallContext> {
        self.contexts.get_mut(&id)
    }

    /// Ends a context.
    pub fn close(&mut self, id: u64) -> Option<CallContext> {
        self.contexts.remove(&id)
    }

    /// Remembers a call that was made.
    pub fn register(&mut self, callback: Callback) -> u64 {
        if let Some(context) = self.contexts.get_mut(&callback.context) {
            context.outstanding += 1;
        }
        let id = self.next_id();
        self.callbacks.insert(id, callback);
        id
    }

    /// Takes the callback that an answer belongs to; `None` if it was answered before.
    pub fn take_callback(&mut self, id: u64) -> Option<Callback> {
        let callback = self.callbacks.remove(&id)?;
        if let Some(context) = self.contexts.get_mut(&callback.context) {
            context.outstanding -= 1;
        }
        Some(callback)
    }

    /// The contexts in the order in which they were opened.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = (u64, &CallContext)> {
        self.contexts.iter().map(|(id, context)| (*id, context))
    }

    /// The calls that are waited for, in the order in which they were made.
    pub(crate) fn callbacks(&self) -> impl Iterator<Item = (u64, &Callback)> {
        self.callbacks.iter().map(|(id, callback)| (*id, callback))
    }

    /// Ends the wait for an answer: another one that comes later is dropped.
    pub(crate) fn give_up(&mut self, id: u64) {
        if let Some(callback) = self.callbacks.get_mut(&id) {
            callback.expired = true;
        }
    }

    /// A call that is waited for.
    pub fn callback(&self, id: u64) -> Option<&Callback> {
        self.callbacks.get(&id)
    }

    /// Whether an answer to this callback still counts.
    pub fn awaits(&self, id: u64) -> bool {
        self.callback(id).is_some_and(|callback| !callback.expired)
    }

    /// Unanswered calls to one callee.
    pub fn outstanding_to(&self, callee: Principal) -> usize {
        self.callbacks
            .values()
            .filter(|callback| callback.callee == callee)
            .count()
    }

    /// Marks the callbacks whose deadline has passed, and lists them.
    pub fn expire(&mut self, now_ns: u64) -> Vec<u64> {
        let due = |callback: &Callback| {
            callback.deadline_ns != 0 && callback.deadline_ns <= now_ns && !callback.expired
        };
        let ids: Vec<u64> = self
            .callbacks
            .iter()
            .filter(|(_, callback)| due(callback))
            .map(|(id, _)| *id)
            .collect();
        for id in &ids {
            if let Some(callback) = self.callbacks.get_mut(id) {
                callback.expired = true;
            }
        }
        ids
    }

    /// After uninstalling: every context is answered by the caller of this, and none of their callbacks will run.
    pub fn abandon(&mut self) -> Vec<CallContext> {
        let mut unanswered = Vec::new();
        for context in self.contexts.values_mut() {
            if !context.responded {
                unanswered.push(context.clone());
            }
            context.responded = true;
            context.deleted = true;
            context.cycles_available = 0;
        }
        self.contexts.retain(|_, context| context.outstanding > 0);
        unanswered
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
