//! The Internet Computer around one canister, natively: messages, commits at each await, traps, cleanups and upgrades.
//!
//! As on the IC, a message that traps is undone as a whole, heap and stable memory alike. There is no copy of a heap to go back to, so the canister is
//! made again from what has happened so far: everything here goes the same way each time. That is exact, also for a future in the
//! midst of its awaits.

use super::{canister::Canister, endpoints::Plan, native::Trap};
use crate::{
    access::StoreAccess,
    policy::Policy,
    store::{Stats, Store},
};
use candid::Principal;
use ic_stable_structures::VectorMemory;
use std::{
    collections::BTreeMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    time::Duration,
};

/// Which of the calls that have arrived.
pub(super) type CallNumber = usize;

/// A call as its client sends it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) caller: Principal,
    /// Until when the caller waits, ns; 0 for as long as it takes.
    pub(super) deadline: u64,
    /// How many instructions the call uses in each message.
    pub(super) instructions: u64,
    pub(super) key: u64,
    pub(super) plan: Plan,
}

/// The methods of the canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "timers"),
    expect(
        dead_code,
        reason = "only with timers does a request go on without its client"
    )
)]
pub(super) enum Method {
    /// Sync.
    Sync,
    /// Async, and an `Err` is kept.
    Keep,
    /// Async, and an `Err` from before the first await is forgotten.
    Forget,
    /// Durable.
    Durable,
    /// The canister goes on with what is durable.
    GoOn,
    /// Async, with `on_unknown`.
    Asking,
    /// Durable, with `on_unknown`.
    DurableAsking,
    /// The canister goes on with that.
    GoOnAsking,
}

/// What happens to the canister.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A call arrives.
    Call(Call),
    /// The answer to what a call awaits arrives.
    Answer { call: CallNumber, answer: u64 },
    /// The oldest of the calls that the canister has made to itself arrives.
    #[cfg(feature = "timers")]
    Deliver,
    /// The oldest of the answers to such calls arrives.
    #[cfg(feature = "timers")]
    Respond,
    /// Time passes, and timers run.
    Pass(Duration),
    /// The code is installed anew: the heap goes, without destructors, and stable memory stays.
    Upgrade,
}

/// How the message of an event ended. The text is that of the trap.
#[derive(Clone, Debug)]
pub(super) enum Course {
    /// It was executed, and committed.
    Committed,
    /// It trapped, and so was undone; the cleanup callback was executed, and committed.
    CleanedUp(String),
    /// The cleanup callback trapped, too.
    Undone(String),
}

/// What a call was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Reply(Vec<u8>),
    /// A trap, with its text.
    Reject(String),
}

/// One canister on the IC, and everything that has happened to it.
pub(super) struct Ic {
    policy: Policy,
    history: Vec<(Event, Course)>,
    canister: Canister,
}

impl Ic {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            canister: Canister::install(policy),
            policy,
            history: vec![],
        }
    }

    /// A call arrives; its number.
    pub(super) fn call(&mut self, call: Call) -> CallNumber {
        self.happen(Event::Call(call));
        self.canister.calls.len() - 1
    }

    pub(super) fn answer(&mut self, call: CallNumber, answer: u64) {
        self.happen(Event::Answer { call, answer });
    }

    pub(super) fn upgrade(&mut self) {
        self.happen(Event::Upgrade);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.happen(Event::Pass(time));
    }

    /// What the call was answered with, if it was.
    pub(super) fn outcome(&self, call: CallNumber) -> Option<Outcome> {
        self.canister.calls[call].outcome.clone()
    }

    /// The calls that await an answer.
    pub(super) fn waiting(&self) -> Vec<CallNumber> {
        let calls = self.canister.calls.iter().enumerate();
        let waiting = calls.filter(|(_, call)| call.awaits.is_some());
        waiting.map(|(number, _)| number).collect()
    }

    /// The call that awaits the answer to a call that it has made with a key, and the key, of all such calls.
    #[cfg(feature = "timers")]
    pub(super) fn asking(&self) -> Vec<(CallNumber, u64)> {
        let calls = self.canister.calls.iter().enumerate();
        calls
            .filter_map(|(number, call)| Some((number, call.asks?)))
            .collect()
    }

    /// How many calls of the canister to itself are on their way, and how many answers to such calls.
    #[cfg(feature = "timers")]
    pub(super) fn on_their_way(&self) -> (usize, usize) {
        (self.canister.sent.len(), self.canister.answers.len())
    }

    /// How many times which segment of a request's work was executed, and its effect stands.
    pub(super) fn effects(&self) -> BTreeMap<(u64, u8), u32> {
        self.canister.ic.effects()
    }

    pub(super) fn stats(&self) -> Stats {
        self.canister.store().with(Store::stats)
    }

    /// How many timers are set.
    #[cfg(feature = "timers")]
    pub(super) fn timers(&self) -> usize {
        self.canister.ic.timers()
    }

    fn happen(&mut self, event: Event) {
        self.happen_as(event, Course::Committed);
    }

    /// Something happens. `course`: whether its message traps at its end.
    pub(super) fn happen_as(&mut self, event: Event, mut course: Course) {
        loop {
            let handled = catch_unwind(AssertUnwindSafe(|| self.canister.handle(&event, &course)));
            let Err(panic) = handled else {
                self.history.push((event, course));
                return;
            };
            let Trap(text) = *panic.downcast().unwrap_or_else(|bug| resume_unwind(bug));
            // No destructor runs: what it would do was not done.
            let undone = self.again();
            let mut gone = mem::replace(&mut self.canister, undone);
            gone.forget();
            mem::forget(gone);
            course = match course {
                Course::Committed => Course::CleanedUp(text),
                Course::CleanedUp(first) => Course::Undone(first),
                Course::Undone(_) => unreachable!("nothing is executed then"),
            };
        }
    }

    /// The canister as it was before the present event.
    fn again(&self) -> Canister {
        let mut canister = Canister::install(self.policy);
        for (event, course) in &self.history {
            canister.handle(event, course);
        }
        canister
    }
}

impl Drop for Ic {
    /// What still waits is not dropped: that would be done in the name of the last message.
    fn drop(&mut self) {
        self.canister.forget();
    }
}

/// The way to the store of a heap.
#[derive(Clone)]
pub(in super::super) struct TestStore(pub(super) Rc<Store<VectorMemory>>);

impl TestStore {
    pub(in super::super) fn new(store: Store<VectorMemory>) -> Self {
        Self(Rc::new(store))
    }
}

impl StoreAccess for TestStore {
    type Memory = VectorMemory;

    fn with<T>(&self, work: impl FnOnce(&Store<VectorMemory>) -> T) -> T {
        work(&self.0)
    }
}
