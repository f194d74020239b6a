//! One canister as its messages find it and leave it: its calls, its heap and what is on its way to it.

use super::{
    endpoints,
    ic::{Call, CallNumber, Course, Event, Method, Outcome, TestStore},
    native::{Message, Native, Sent, Stage},
};
use crate::{eviction, policy::Policy, runtime::Runtime, store::Store};
use ic_stable_structures::VectorMemory;
use std::{
    collections::VecDeque,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// What the IC knows of a call.
pub(super) struct CallContext {
    call: Call,
    /// The instructions that it has used.
    instructions: u64,
    /// Where in the heap somebody waits for the answer to a call that it has made, as ic-cdk has it.
    pub(super) awaits: Option<Address>,
    /// Which key the call that it awaits was made with.
    pub(super) asks: Option<u64>,
    /// What it brought, if the canister made it to itself, and which call waits for its outcome.
    of_canister: Option<(Sent, Option<CallNumber>)>,
    pub(super) outcome: Option<Outcome>,
}

/// Where a future stands in a heap.
type Address = usize;

pub(super) struct Canister {
    policy: Policy,
    memory: VectorMemory,
    pub(super) calls: Vec<CallContext>,
    /// The canister's calls to itself that have not arrived, and which call waits for the answer.
    pub(super) sent: VecDeque<(Sent, Option<CallNumber>)>,
    /// Answers to such calls that have not arrived: whether they are replies.
    pub(super) answers: VecDeque<(CallNumber, bool)>,
    heap: Heap,
    pub(super) ic: Native,
}

/// What an upgrade leaves nothing of.
struct Heap {
    store: TestStore,
    futures: Vec<Option<Pin<Box<dyn Future<Output = ()>>>>>,
}

impl Canister {
    pub(super) fn store(&self) -> &TestStore {
        &self.heap.store
    }

    /// What waits is not dropped. Its memory is given back all the same: there are thousands of canisters.
    pub(super) fn forget(&mut self) {
        let futures = mem::take(&mut self.heap.futures);
        futures.into_iter().for_each(mem::forget);
        self.memory.take();
    }

    pub(super) fn install(policy: Policy) -> Self {
        let (memory, ic) = (VectorMemory::default(), Native::default());
        Self {
            heap: Heap::new(&memory, &policy, &ic),
            policy,
            memory,
            calls: vec![],
            sent: VecDeque::new(),
            answers: VecDeque::new(),
            ic,
        }
    }

    pub(super) fn handle(&mut self, event: &Event, course: &Course) {
        match event {
            Event::Call(call) => self.arrive(call.clone(), None, course),
            Event::Answer { call, answer } => {
                self.calls[*call].asks = None;
                self.wake(*call, Stage::Callback(*answer), course);
            }
            #[cfg(feature = "timers")]
            Event::Deliver => {
                let (sent, waits) = self.sent.pop_front().expect("it was sent");
                let is_asking = sent.call.method.ends_with(endpoints::DURABLE_ASKING_NAME);
                let call = Call {
                    method: if is_asking {
                        Method::GoOnAsking
                    } else {
                        Method::GoOn
                    },
                    caller: super::native::CANISTER,
                    deadline: 0,
                    instructions: 1_000,
                    key: 0,
                    plan: endpoints::Plan::default(),
                };
                self.arrive(call, Some((sent, waits)), course);
            }
            #[cfg(feature = "timers")]
            Event::Respond => {
                let (call, is_reply) = self.answers.pop_front().expect("it was answered");
                let stage = match is_reply {
                    true => Stage::Callback(0),
                    false => Stage::Rejected,
                };
                self.wake(call, stage, course);
            }
            Event::Pass(time) => {
                self.ic.pass(*time);
                while let Some(task) = self.ic.due() {
                    task();
                }
                self.post(None);
            }
            Event::Upgrade => {
                self.ic.forget_timers();
                let heap = Heap::new(&self.memory, &self.policy, &self.ic);
                mem::forget(mem::replace(&mut self.heap, heap));
            }
        }
    }

    fn arrive(
        &mut self,
        call: Call,
        of_canister: Option<(Sent, Option<CallNumber>)>,
        course: &Course,
    ) {
        self.calls.push(CallContext {
            call,
            instructions: 0,
            awaits: None,
            asks: None,
            of_canister,
            outcome: None,
        });
        let number = self.calls.len() - 1;
        match course {
            Course::Committed => self.begin(number),
            // There is nothing to clean up yet.
            Course::CleanedUp(text) | Course::Undone(text) => self.reject(number, text),
        }
    }

    /// An answer wakes what a call has left where it awaits it.
    fn wake(&mut self, number: CallNumber, stage: Stage, course: &Course) {
        let address = self.calls[number].awaits.take();
        let address = address.expect("it awaits an answer");
        match course {
            Course::Committed => {
                self.enter(number, stage);
                self.go_on(number, address);
            }
            Course::CleanedUp(text) => {
                self.enter(number, Stage::Cleanup);
                drop(self.heap.take(address));
                self.reject(number, text);
            }
            Course::Undone(text) => self.reject(number, text),
        }
    }

    /// The first message of a call.
    fn begin(&mut self, number: CallNumber) {
        self.enter(number, Stage::First);
        let (ic, store) = (self.ic.clone(), self.heap.store.clone());
        let future: Pin<Box<dyn Future<Output = ()>>> = match self.calls[number].call.method {
            Method::Sync => {
                endpoints::call(&ic, &store);
                // An entry point of ic-cdk runs what was spawned in the same message.
                #[cfg(feature = "archive")]
                if let Some(spawned) = ic.take_spawned() {
                    let address = self.heap.place(spawned);
                    return self.go_on(number, address);
                }
                return self.leave(number, None);
            }
            Method::Keep => Box::pin(endpoints::call_async(ic, store, true)),
            Method::Forget => Box::pin(endpoints::call_async(ic, store, false)),
            Method::Durable => Box::pin(endpoints::call_durable(ic, store)),
            Method::GoOn => Box::pin(endpoints::go_on(ic, store)),
            Method::Asking => Box::pin(endpoints::call_asking(ic, store)),
            Method::DurableAsking => Box::pin(endpoints::call_durable_asking(ic, store)),
            Method::GoOnAsking => Box::pin(endpoints::go_on_asking(ic, store)),
        };
        let address = self.heap.place(future);
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
                argument: match &context.of_canister {
                    Some((sent, _)) => sent.call.argument.clone(),
                    None => candid::encode_args((context.call.key, context.call.plan))
                        .expect("it encodes"),
                },
            },
        );
        let cycles = (context.of_canister.as_ref()).map_or(0, |(sent, _)| sent.call.cycles);
        self.ic.bring(cycles);
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
        context.asks = self.ic.take_asked();
        self.post(Some(number));
        if let Some(reply) = reply {
            self.end(number, Outcome::Reply(reply));
        }
    }

    fn reject(&mut self, number: CallNumber, text: &str) {
        self.end(number, Outcome::Reject(text.into()));
    }

    /// A call has its outcome, for which another may wait.
    fn end(&mut self, number: CallNumber, outcome: Outcome) {
        let context = &mut self.calls[number];
        if let Some((_, Some(waits))) = &context.of_canister {
            let is_reply = matches!(outcome, Outcome::Reply(_));
            self.answers.push_back((*waits, is_reply));
        }
        context.outcome = Some(outcome);
    }

    /// What a message sends is on its way when it has ended.
    fn post(&mut self, sender: Option<CallNumber>) {
        let sent = self.ic.take_sent().into_iter();
        let sent = sent.map(|sent| {
            let waits = sender.filter(|_| sent.is_awaited);
            (sent, waits)
        });
        self.sent.extend(sent);
    }
}

impl Heap {
    /// A fresh heap opens its store, as `init` and `post_upgrade` do.
    fn new(memory: &VectorMemory, policy: &Policy, ic: &Native) -> Self {
        let store = Store::open(memory.clone(), *policy, ic.time());
        let store = TestStore::new(store.expect("the memory is sound"));
        #[cfg(feature = "archive")]
        if policy.archive.is_some() {
            let keeper = super::archives::Archive(ic.clone());
            store.0.keep_with(std::rc::Rc::new(keeper));
        }
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
