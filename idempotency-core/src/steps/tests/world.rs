//! A canister with one durable request, the canisters that it calls, and all that can happen to them.
//!
//! Each message either commits or traps. Between messages one of the calls under way is answered, or an upgrade cuts the attempt
//! off; then each call under way has been executed or will never be. After a cut the next attempt begins.

use super::{
    super::{AppendError, Ended, Journal, Steps, journal::Answer, run},
    callee::{CALLEE, ENDPOINT, Fate, PLAIN, TRANSFER},
};
use crate::{
    identity::{Identity, RequestKey, Scope},
    runtime::{Outgoing, Rejected},
    time::Timestamp,
};
use candid::Principal;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

pub(super) const CALLER: Principal = Principal::from_slice(&[7, 1]);

/// What a trap undoes.
#[derive(Clone, Default)]
struct Memory {
    entries: Vec<Vec<u8>>,
    /// What actions did that await nothing.
    effects: BTreeMap<String, u32>,
    /// Calls that are made when the message commits: number and what is called.
    outbox: Vec<(u64, Called)>,
}

#[derive(Clone)]
struct Called {
    name: String,
    /// By which its callee knows a repetition.
    key: Option<[u8; 32]>,
    has_effect: bool,
}

/// The canister and its surroundings. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct World(Rc<State>);

#[derive(Default)]
struct State {
    memory: RefCell<Memory>,
    /// As of the last commit.
    committed: RefCell<Memory>,
    /// Calls under way.
    calls: RefCell<BTreeMap<u64, Called>>,
    answers: RefCell<BTreeSet<u64>>,
    wakers: RefCell<BTreeMap<u64, Waker>>,
    /// What other canisters did.
    remote: RefCell<BTreeMap<String, u32>>,
    keys: RefCell<BTreeSet<[u8; 32]>>,
    /// What becomes of calls, and whether they were no repeats.
    fates: RefCell<BTreeMap<u64, (Fate, bool)>>,
    now: Cell<u64>,
    /// The number of the next call.
    next: Cell<u64>,
    max_bytes: Cell<Option<usize>>,
    is_damaged: Cell<bool>,
    random_fails: Cell<u32>,
    attempts: Cell<u32>,
    /// What the method has seen, in all attempts.
    seen: RefCell<BTreeSet<String>>,
}

impl World {
    pub(super) fn new() -> Self {
        let world = Self::default();
        world.pass(Duration::from_secs(1_000));
        world
    }

    /// With these entries already in the journal.
    pub(super) fn with(entries: Vec<Vec<u8>>) -> Self {
        let world = Self::new();
        world.0.memory.borrow_mut().entries = entries;
        world.commit();
        world
    }

    pub(super) fn pass(&self, time: Duration) {
        self.0.now.set(self.0.now.get() + time.as_nanos() as u64);
    }

    /// The longest that all entries may be together.
    pub(super) fn limit(&self, bytes: usize) {
        self.0.max_bytes.set(Some(bytes));
    }

    pub(super) fn damage(&self) {
        self.0.is_damaged.set(true);
    }

    /// So often random bytes are refused.
    pub(super) fn fail_random(&self, times: u32) {
        self.0.random_fails.set(times);
    }

    pub(super) fn entries(&self) -> Vec<Vec<u8>> {
        self.0.committed.borrow().entries.clone()
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries().iter().map(Vec::len).sum()
    }

    /// The number of the present attempt, from 1.
    pub(super) fn attempt(&self) -> u32 {
        self.0.attempts.get()
    }

    /// The time as entries have it.
    pub(super) fn now_bytes(&self) -> [u8; 8] {
        self.0.now.get().to_le_bytes()
    }

    /// The method sees something.
    pub(super) fn see(&self, it: String) {
        self.0.seen.borrow_mut().insert(it);
    }

    pub(super) fn seen(&self) -> BTreeSet<String> {
        self.0.seen.borrow().clone()
    }

    /// An effect in the canister itself.
    pub(super) fn effect(&self, name: &str) -> u64 {
        let mut memory = self.0.memory.borrow_mut();
        *memory.effects.entry(name.to_owned()).or_default() += 1;
        name.len() as u64
    }

    /// An effect in another canister, which knows no repetitions.
    pub(super) async fn call(&self, name: &str) -> u64 {
        self.send(name, None, true).await
    }

    /// An effect in another canister, which takes notice of a key once.
    pub(super) async fn call_with(&self, name: &str, key: [u8; 32]) -> u64 {
        self.send(name, Some(key), true).await
    }

    /// Asks another canister whether it did something.
    pub(super) async fn ask(&self, name: &str) -> bool {
        self.send("ask", None, false).await;
        self.did(name)
    }

    pub(super) fn did(&self, name: &str) -> bool {
        self.0.remote.borrow().contains_key(name)
    }

    async fn send(&self, name: &str, key: Option<[u8; 32]>, has_effect: bool) -> u64 {
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        let called = Called {
            name: name.to_owned(),
            key,
            has_effect,
        };
        self.0.memory.borrow_mut().outbox.push((number, called));
        poll_fn(
            |context| match self.0.answers.borrow_mut().remove(&number) {
                true => Poll::Ready(()),
                false => {
                    let waker = context.waker().clone();
                    self.0.wakers.borrow_mut().insert(number, waker);
                    Poll::Pending
                }
            },
        )
        .await;
        name.len() as u64
    }

    async fn send_safely(&self, call: Outgoing) -> Result<Vec<u8>, Rejected> {
        let number = self.0.next.get();
        let Outgoing {
            method, argument, ..
        } = call;
        let key = match &*method {
            TRANSFER | ENDPOINT => Some(*blake3::hash(&argument).as_bytes()),
            PLAIN => None,
            // Not a ledger with ICRC-3.
            _ => {
                return Err(Rejected {
                    code: 5,
                    message: "no such method".to_owned(),
                });
            }
        };
        self.send(&method, key, true).await;
        let (fate, is_new) = self.0.fates.borrow_mut().remove(&number).expect("decided");
        fate.answer(&method, is_new)
    }

    /// What was done, here and elsewhere, and how often.
    pub(super) fn effects(&self) -> BTreeMap<String, u32> {
        let mut effects = self.0.committed.borrow().effects.clone();
        for (name, times) in self.0.remote.borrow().iter() {
            *effects.entry(name.clone()).or_default() += times;
        }
        effects
    }

    pub(super) fn commit(&self) {
        let mut memory = self.0.memory.borrow_mut();
        self.0.calls.borrow_mut().extend(memory.outbox.drain(..));
        self.0.committed.replace(memory.clone());
    }

    /// What is under way never comes to this attempt, and the present message is undone.
    pub(super) fn cut(&self) {
        self.0.calls.take();
        self.0.answers.take();
        self.0.wakers.take();
        self.0.memory.replace(self.0.committed.borrow().clone());
    }

    pub(super) fn calls(&self) -> Vec<u64> {
        self.0.calls.borrow().keys().copied().collect()
    }

    /// What may become of a call under way.
    pub(super) fn fates_of(&self, number: u64) -> &'static [Fate] {
        let calls = self.0.calls.borrow();
        match &*calls[&number].name {
            TRANSFER => &Fate::ALL,
            ENDPOINT | PLAIN => &Fate::ALL[..6],
            _ => &Fate::ALL[..1],
        }
    }

    /// A call under way is answered, and executed or not.
    pub(super) fn decide(&self, number: u64, fate: Fate) {
        let is_new = match fate.is_executed() {
            true => self.execute(number),
            false => {
                self.0.calls.borrow_mut().remove(&number);
                false
            }
        };
        self.0.fates.borrow_mut().insert(number, (fate, is_new));
        self.answer(number);
    }

    /// A call under way is executed. Returns whether it is no repeat.
    pub(super) fn execute(&self, number: u64) -> bool {
        let Some(called) = self.0.calls.borrow_mut().remove(&number) else {
            return false;
        };
        let is_new = called
            .key
            .is_none_or(|key| self.0.keys.borrow_mut().insert(key));
        if called.has_effect && is_new {
            *self.0.remote.borrow_mut().entry(called.name).or_default() += 1;
        }
        is_new
    }

    /// A call under way is executed and answered.
    pub(super) fn answer(&self, number: u64) {
        self.execute(number);
        self.0.answers.borrow_mut().insert(number);
        if let Some(waker) = self.0.wakers.borrow_mut().remove(&number) {
            waker.wake();
        }
    }

    /// Begins an attempt.
    pub(super) fn begin<R: 'static, F: Future<Output = Result<R, String>> + 'static>(
        &self,
        body: impl FnOnce(Steps) -> F + 'static,
    ) -> Attempt<R> {
        self.0.attempts.set(self.0.attempts.get() + 1);
        let journal: Rc<dyn Journal> = Rc::new(self.clone());
        Attempt(Box::pin(run(journal, self.entries(), Result::is_err, body)))
    }

    /// Runs an attempt, each call being answered at once.
    pub(super) fn run<R: 'static, F: Future<Output = Result<R, String>> + 'static>(
        &self,
        body: impl FnOnce(Steps) -> F + 'static,
    ) -> Ended<Result<R, String>> {
        let mut attempt = self.begin(body);
        loop {
            let ended = attempt.message();
            self.commit();
            if let Some(ended) = ended {
                return ended;
            }
            let number = *self.calls().first().expect("nothing is under way");
            self.answer(number);
        }
    }
}

type Running<R> = Pin<Box<dyn Future<Output = Ended<Result<R, String>>>>>;

/// An attempt that is under way.
pub(super) struct Attempt<R>(Running<R>);

impl<R> Attempt<R> {
    /// One message.
    pub(super) fn message(&mut self) -> Option<Ended<Result<R, String>>> {
        let mut context = Context::from_waker(Waker::noop());
        match self.0.as_mut().poll(&mut context) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        }
    }
}

impl Journal for World {
    fn identity(&self) -> Identity {
        Identity::new(
            "pay",
            &Scope::Caller,
            &CALLER,
            &RequestKey::of("1").unwrap(),
        )
        .unwrap()
    }

    fn caller(&self) -> Principal {
        CALLER
    }

    fn canister(&self) -> Principal {
        Principal::from_slice(&[9, 1])
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.now.get())
    }

    fn has_room(&self, lengths: &[usize]) -> bool {
        let used: usize = (self.0.memory.borrow().entries.iter()).map(Vec::len).sum();
        let more: usize = lengths.iter().sum();
        self.0
            .max_bytes
            .get()
            .is_none_or(|most| used + more <= most)
    }

    fn append(&self, entry: &[u8]) -> Result<(), AppendError> {
        if self.0.is_damaged.get() {
            return Err(AppendError::Damaged);
        }
        if !self.has_room(&[entry.len()]) {
            let max_journal_bytes = self.0.max_bytes.get().unwrap_or(0) as u32;
            return Err(AppendError::Full { max_journal_bytes });
        }
        self.0.memory.borrow_mut().entries.push(entry.to_vec());
        Ok(())
    }

    fn call(&self, call: Outgoing) -> Answer {
        let world = self.clone();
        Box::pin(async move {
            if call.callee == CALLEE {
                return world.send_safely(call).await;
            }
            assert_eq!(
                (call.callee, &*call.method),
                (Principal::management_canister(), "raw_rand")
            );
            let number = world.0.next.get();
            world.send("raw_rand", None, false).await;
            match world.0.random_fails.get() {
                0 => Ok(candid::encode_one([number as u8; 32].to_vec()).unwrap()),
                fails => {
                    world.0.random_fails.set(fails - 1);
                    Err(Rejected {
                        code: 2,
                        message: "full".to_owned(),
                    })
                }
            }
        })
    }
}
