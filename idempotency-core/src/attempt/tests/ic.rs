//! The Internet Computer around one canister, natively: messages, commits at each await, traps, cleanups and upgrades.
//!
//! As on the IC, a message that traps is undone as a whole, heap and stable memory alike. There is no copy of a heap to go back to, so the canister is
//! made again from what has happened so far: everything here goes the same way each time. That is exact, also for a future in the
//! midst of its awaits.

use super::{
    endpoints::{self, Plan},
    native::{Message, Native, Stage, Trap},
};
use crate::{
    access::StoreAccess,
    eviction,
    policy::Policy,
    runtime::Runtime,
    store::{Stats, Store},
};
use candid::Principal;
use ic_stable_structures::VectorMemory;
use std::{
    collections::BTreeMap,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
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
pub(super) enum Method {
    /// Sync.
    Sync,
    /// Async, and an `Err` is kept.
    Keep,
    /// Async, and an `Err` from before the first await is forgotten.
    Forget,
}

/// What happens to the canister.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A call arrives.
    Call(Call),
    /// The answer to what a call awaits arrives.
    Answer { call: CallNumber, answer: u64 },
    /// Time passes, and timers run.
    Pass(Duration),
    /// The code is installed anew: the heap goes, without destructors, and stable memory stays.
    Upgrade,
}

/// How the message of an event ended. The text is that of the trap.
#[derive(Clone, Debug)]
enum Course {
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

    /// How many times which segment of a request's work was executed, and its effect stands.
    pub(super) fn effects(&self) -> BTreeMap<(u64, u8), u32> {
        self.canister.ic.effects()
    }

    pub(super) fn stats(&self) -> Stats {
        self.canister.heap.store.with(Store::stats)
    }

    /// How many timers are set.
    pub(super) fn timers(&self) -> usize {
        self.canister.ic.timers()
    }

    fn happen(&mut self, event: Event) {
        let mut course = Course::Committed;
        loop {
            let handled = catch_unwind(AssertUnwindSafe(|| self.canister.handle(&event, &course)));
            let Err(panic) = handled else {
                self.history.push((event, course));
                return;
            };
            let Trap(text) = *panic.downcast().unwrap_or_else(|bug| resume_unwind(bug));
            // No destructor runs: what it would do was not done.
            let undone = self.again();
            mem::forget(mem::replace(&mut self.canister, undone));
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
        let futures = mem::take(&mut self.canister.heap.futures);
        futures.into_iter().for_each(mem::forget);
    }
}

/// What the IC knows of a call.
struct CallContext {
    call: Call,
    /// The instructions that it has used.
    instructions: u64,
    /// Where in the heap somebody waits for the answer to a call that it has made, as ic-cdk has it.
    awaits: Option<Address>,
    outcome: Option<Outcome>,
}

/// Where a future stands in a heap.
type Address = usize;

struct Canister {
    policy: Policy,
    memory: VectorMemory,
    calls: Vec<CallContext>,
    heap: Heap,
    ic: Native,
}

/// What an upgrade leaves nothing of.
struct Heap {
    store: TestStore,
    futures: Vec<Option<Pin<Box<dyn Future<Output = ()>>>>>,
}

impl Canister {
    fn install(policy: Policy) -> Self {
        let (memory, ic) = (VectorMemory::default(), Native::default());
        Self {
            heap: Heap::new(&memory, &policy, &ic),
            policy,
            memory,
            calls: vec![],
            ic,
        }
    }

    fn handle(&mut self, event: &Event, course: &Course) {
        match event {
            Event::Call(call) => {
                self.calls.push(CallContext {
                    call: call.clone(),
                    instructions: 0,
                    awaits: None,
                    outcome: None,
                });
                let number = self.calls.len() - 1;
                match course {
                    Course::Committed => self.begin(number),
                    // There is nothing to clean up yet.
                    Course::CleanedUp(text) | Course::Undone(text) => self.reject(number, text),
                }
            }
            Event::Answer { call, answer } => {
                let address = self.calls[*call].awaits.take();
                let address = address.expect("it awaits an answer");
                match course {
                    Course::Committed => {
                        self.enter(*call, Stage::Callback(*answer));
                        self.go_on(*call, address);
                    }
                    Course::CleanedUp(text) => {
                        self.enter(*call, Stage::Cleanup);
                        drop(self.heap.take(address));
                        self.reject(*call, text);
                    }
                    Course::Undone(text) => self.reject(*call, text),
                }
            }
            Event::Pass(time) => {
                self.ic.pass(*time);
                while let Some(task) = self.ic.due() {
                    task();
                }
            }
            Event::Upgrade => {
                self.ic.forget_timers();
                let heap = Heap::new(&self.memory, &self.policy, &self.ic);
                mem::forget(mem::replace(&mut self.heap, heap));
            }
        }
    }

    /// The first message of a call.
    fn begin(&mut self, number: CallNumber) {
        self.enter(number, Stage::First);
        let (ic, store) = (self.ic.clone(), self.heap.store.clone());
        if self.calls[number].call.method == Method::Sync {
            endpoints::call(&ic, &store);
            return self.leave(number, None);
        }
        let is_kept = self.calls[number].call.method == Method::Keep;
        let address = self
            .heap
            .place(Box::pin(endpoints::call_async(ic, store, is_kept)));
        self.go_on(number, address);
    }

    /// Wakes what stands at an address, in the name of a call.
    fn go_on(&mut self, number: CallNumber, address: Address) {
        let mut future = self
            .heap
            .take(address)
            .unwrap_or_else(|| self.ic.trap("nobody waits here"));
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending => {
                self.heap.futures[address] = Some(future);
                self.leave(number, Some(address));
            }
            Poll::Ready(()) => self.leave(number, None),
        }
    }

    /// A message of a call begins.
    fn enter(&mut self, number: CallNumber, stage: Stage) {
        let context = &mut self.calls[number];
        context.instructions += context.call.instructions;
        self.ic.enter(
            stage,
            Message {
                caller: context.call.caller,
                deadline: context.call.deadline,
                instructions: context.instructions,
                method: "work",
                argument: candid::encode_args((context.call.key, context.call.plan))
                    .expect("it encodes"),
            },
        );
    }

    /// The message ends, and the call awaits an answer at an address, or has its own.
    fn leave(&mut self, number: CallNumber, awaits: Option<Address>) {
        let context = &mut self.calls[number];
        context.awaits = awaits;
        let reply = self.ic.take_reply();
        assert_eq!(
            reply.is_none(),
            awaits.is_some(),
            "a call waits or is answered"
        );
        context.outcome = reply.map(Outcome::Reply);
    }

    fn reject(&mut self, number: CallNumber, text: &str) {
        self.calls[number].outcome = Some(Outcome::Reject(text.into()));
    }
}

impl Heap {
    /// A fresh heap opens its store, as `init` and `post_upgrade` do.
    fn new(memory: &VectorMemory, policy: &Policy, ic: &Native) -> Self {
        let store = Store::open(memory.clone(), *policy, ic.time());
        let store = TestStore::new(store.expect("the memory is sound"));
        eviction::open(ic, &store);
        Self {
            store,
            futures: vec![],
        }
    }

    /// Puts a future at the first address that is free.
    fn place(&mut self, future: Pin<Box<dyn Future<Output = ()>>>) -> Address {
        let free = self.futures.iter().position(Option::is_none);
        let address = free.unwrap_or(self.futures.len());
        if free.is_none() {
            self.futures.push(None);
        }
        self.futures[address] = Some(future);
        address
    }

    fn take(&mut self, address: Address) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        self.futures.get_mut(address)?.take()
    }
}

/// The way to the store of a heap.
#[derive(Clone)]
pub(in super::super) struct TestStore(Rc<Store<VectorMemory>>);

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
