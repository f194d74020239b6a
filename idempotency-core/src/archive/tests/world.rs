//! One canister with its store and its archives: messages are delivered or not, answers are lost, canisters are stopped, rolled back and
//! upgraded where the test says.

use super::{
    super::{
        ArchivePolicy, Archives, Id, Keep, Overview, entry::Entry, handle::Access, install,
        look_up::Keeping,
    },
    ic::{Answer, Ic, Sent, Task},
    others::{Others, rejected},
};
use crate::{
    access::StoreAccess,
    admission::{self, Decision, Request},
    error::IdempotencyError,
    eviction,
    identity::{ArgumentIs, Digest, Fingerprint, Fingerprinted as _, Identity},
    policy::Policy,
    runtime::{Rejected, Runtime},
    store::{
        Archived, Attempt, Keeper as _, LookingUp, Lookup, Origin, Reply, State, Store, Ticket,
    },
    time::Timestamp,
};
use candid::Principal;
use ic_stable_structures::VectorMemory;
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    mem,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

pub(crate) const CANISTER: Principal = Principal::from_slice(&[9, 1, 1]);
pub(crate) const WINDOW: Duration = Duration::from_secs(3_200);
pub(super) const MODULE: &[u8] = b"an archive's module";

#[derive(Clone)]
pub(crate) struct TheStore(Rc<Store<VectorMemory>>);

impl StoreAccess for TheStore {
    type Memory = VectorMemory;

    fn with<T>(&self, work: impl FnOnce(&Store<VectorMemory>) -> T) -> T {
        work(&self.0)
    }
}

/// The same for what the store itself holds, and timers: neither keeps a store that is gone.
#[derive(Clone)]
struct WhileThere(Weak<Store<VectorMemory>>);

impl StoreAccess for WhileThere {
    type Memory = VectorMemory;

    fn with<T>(&self, work: impl FnOnce(&Store<VectorMemory>) -> T) -> T {
        work(&self.0.upgrade().expect("its heap is there"))
    }
}

#[derive(Clone)]
pub(crate) struct TheArchives(Rc<Archives<VectorMemory>>);

impl TheArchives {
    pub(super) fn give_up(&self, canister: Principal) -> bool {
        self.0.give_up(canister).unwrap()
    }

    pub(super) fn canisters(&self) -> Vec<Principal> {
        self.0.canisters().unwrap()
    }
}

impl Access for TheArchives {
    type Memory = VectorMemory;

    fn with<T>(&self, work: impl FnOnce(&Archives<VectorMemory>) -> T) -> T {
        work(&self.0)
    }
}

/// A request that has begun.
#[derive(Clone, Debug)]
struct Begun {
    ticket: Ticket,
    attempt: Attempt,
}

/// What the canister knows, to go back to.
pub(super) struct Snapshot {
    store: Vec<u8>,
    archives: Vec<u8>,
    executed: BTreeMap<u64, Option<Vec<u8>>>,
    open: Vec<u64>,
}

pub(crate) struct World {
    pub(crate) ic: Ic,
    memories: [VectorMemory; 2],
    pub(super) policy: Policy,
    pub(super) archive_policy: ArchivePolicy,
    pub(crate) store: TheStore,
    pub(super) archives: TheArchives,
    pub(crate) others: Others,
    tasks: Vec<Task>,
    /// Requests that were executed, with their replies if these are to be known.
    pub(super) executed: BTreeMap<u64, Option<Vec<u8>>>,
    running: BTreeMap<u64, Begun>,
    /// Their outcome is unknown: they are known to the store for ever.
    cut_off: Vec<u64>,
}

/// The policy of a store with 32 partitions in its window.
pub(crate) fn policy(keep: Keep) -> Policy {
    Policy::new()
        .window(WINDOW)
        .drift(Duration::ZERO)
        .max_reply_bytes(1_000)
        .archive(keep)
}

/// Archives that are made, with chunks of a few entries.
pub(crate) fn archive_policy(capacity: u64) -> ArchivePolicy {
    let mut policy = ArchivePolicy::embedded(MODULE).capacity(capacity);
    (policy.chunk_bytes, policy.first_ids) = (300, 50);
    policy
}

impl World {
    pub(crate) fn new(policy: Policy, archive_policy: ArchivePolicy) -> Self {
        let ic = Ic(Rc::default());
        ic.0.now.set(1_000_000_000_000);
        let memories = [VectorMemory::default(), VectorMemory::default()];
        let (store, archives) = open(&ic, &memories, policy, &archive_policy);
        Self {
            ic,
            memories,
            policy,
            archive_policy,
            store,
            archives,
            others: Others::default(),
            tasks: vec![],
            executed: BTreeMap::new(),
            running: BTreeMap::new(),
            cut_off: vec![],
        }
    }

    /// The same in a fresh heap, and apart from this one.
    pub(crate) fn again(&self) -> Self {
        let ic = Ic(Rc::default());
        ic.0.now.set(self.ic.0.now.get());
        let memories =
            (self.memories.each_ref()).map(|it| Rc::new(RefCell::new(it.borrow().clone())));
        let (store, archives) = open(&ic, &memories, self.policy, &self.archive_policy);
        Self {
            ic,
            memories,
            policy: self.policy,
            archive_policy: self.archive_policy.clone(),
            store,
            archives,
            others: self.others.clone(),
            tasks: vec![],
            executed: self.executed.clone(),
            running: BTreeMap::new(),
            cut_off: self.cut_off.clone(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.ic.time()
    }

    fn keeping(&self) -> Keeping<Ic, TheStore, TheArchives> {
        Keeping {
            runtime: self.ic.clone(),
            store: self.store.clone(),
            archives: self.archives.clone(),
        }
    }

    /// What runs goes on as far as it can.
    pub(crate) fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            self.tasks.append(&mut self.ic.0.begun.borrow_mut());
            let before = self.tasks.len();
            self.tasks
                .retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
            if self.tasks.len() == before && self.ic.0.begun.borrow().is_empty() {
                return;
            }
        }
    }

    /// Lets time pass, to the next timer at the most; whether that has run.
    pub(crate) fn pass(&mut self, time: Duration) -> bool {
        let end = self.ic.0.now.get() + time.as_nanos() as u64;
        let first = self.ic.0.timers.borrow().keys().next().copied();
        let Some((at, count)) = first.filter(|(at, _)| *at <= end) else {
            self.ic.0.now.set(end);
            return false;
        };
        self.ic.0.now.set(at.max(self.ic.0.now.get()));
        let task = self.ic.0.timers.borrow_mut().remove(&(at, count)).unwrap();
        task();
        self.poll();
        true
    }

    /// Lets as much time pass as it takes, without any answer.
    pub(super) fn pass_all(&mut self, time: Duration) {
        let end = self.now().plus(time);
        while self.pass(Duration::from_nanos(end.as_nanos() - self.now().as_nanos())) {}
    }

    pub(super) fn timers(&self) -> usize {
        self.ic.0.timers.borrow().len()
    }

    pub(crate) fn on_their_way(&self) -> usize {
        self.ic.0.sent.borrow().len()
    }

    /// The oldest call arrives, and its answer: that of the callee, or the one that is given instead.
    pub(super) fn deliver(&mut self, instead: Option<Rejected>) -> bool {
        let Some(sent) = self.ic.0.sent.borrow_mut().pop_front() else {
            return false;
        };
        let answer = self.others.call(&sent.call);
        *sent.answer.borrow_mut() = Some(instead.map_or(answer, Err));
        self.poll();
        true
    }

    /// The oldest call does not arrive, and is answered for the callee.
    pub(super) fn refuse(&mut self, with: Rejected) -> bool {
        let Some(sent) = self.ic.0.sent.borrow_mut().pop_front() else {
            return false;
        };
        *sent.answer.borrow_mut() = Some(Err(with));
        self.poll();
        true
    }

    /// The heap goes. What it has sent arrives; nobody takes the answers.
    pub(crate) fn upgrade(&mut self) {
        self.ic.0.timers.borrow_mut().clear();
        self.ic.0.begun.borrow_mut().clear();
        mem::take(&mut self.tasks).clear();
        let sent = mem::take(&mut *self.ic.0.sent.borrow_mut());
        for sent in sent {
            let _ = self.others.call(&sent.call);
        }
        self.cut_off
            .extend(mem::take(&mut self.running).into_keys());
        (self.store, self.archives) =
            open(&self.ic, &self.memories, self.policy, &self.archive_policy);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let [store, archives] = self.memories.each_ref().map(|it| it.borrow().clone());
        Snapshot {
            store,
            archives,
            executed: self.executed.clone(),
            open: (self.running.keys())
                .chain(&self.cut_off)
                .copied()
                .collect(),
        }
    }

    /// The canister is as it was. What ran then is cut off, and so is what began since.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        self.ic.0.sent.borrow_mut().clear();
        *self.memories[0].borrow_mut() = snapshot.store.clone();
        *self.memories[1].borrow_mut() = snapshot.archives.clone();
        self.executed = snapshot.executed.clone();
        self.running.clear();
        self.upgrade();
        self.cut_off = snapshot.open.clone();
    }

    fn admit(&self, key: u64) -> Decision {
        let request = Request {
            identity: identity(key),
            fingerprint: fingerprint(key),
            created_at: None,
            sequence: None,
            scope: None,
        };
        let decision = admission::admit(&*self.store.0, &request, self.now());
        // As each attempt does at its end.
        eviction::schedule(&self.ic, &self.store, self.now());
        decision
    }

    /// A request is executed in one message, if it is a new one and there is room.
    pub(crate) fn execute(&mut self, key: u64) -> bool {
        if self.executed.contains_key(&key) || self.cut_off.contains(&key) {
            return false;
        }
        let Decision::Execute(ticket) = self.admit(key) else {
            return false;
        };
        let reply = reply(key);
        self.store.0.record(&ticket, &reply).unwrap();
        self.executed.insert(key, Some(reply));
        eviction::schedule(&self.ic, &self.store, self.now());
        true
    }

    pub(super) fn begin(&mut self, key: u64) -> bool {
        if self.executed.contains_key(&key) || self.cut_off.contains(&key) {
            return false;
        }
        let Decision::Execute(ticket) = self.admit(key) else {
            return false;
        };
        let attempt = self.store.0.begin(&ticket, &Origin::NOWHERE).unwrap();
        self.running.insert(key, Begun { ticket, attempt });
        eviction::schedule(&self.ic, &self.store, self.now());
        true
    }

    /// One that runs ends.
    pub(super) fn end(&mut self) -> bool {
        let Some((key, Begun { ticket, attempt })) = self.running.pop_first() else {
            return false;
        };
        let reply = reply(key);
        let kept = Some(Reply::first(reply.as_slice()));
        let now = self.now();
        assert!(self.store.0.complete(&ticket, attempt, kept, now).unwrap());
        self.executed.insert(key, Some(reply));
        true
    }

    /// Whether an archive is asked for a request.
    pub(super) fn may_hold(&self, key: u64) -> bool {
        self.may_hold_id(&Entry::id_of(&identity(key)))
    }

    pub(crate) fn may_hold_id(&self, id: &Id) -> bool {
        self.keeping().may_hold(id).unwrap()
    }

    /// A look-up that is under way.
    pub(super) fn begin_look_up(&self, key: u64) -> LookingUp {
        self.keeping().look_up(Entry::id_of(&identity(key)))
    }

    /// The calls on their way.
    pub(crate) fn take_sent(&mut self) -> VecDeque<Sent> {
        mem::take(&mut *self.ic.0.sent.borrow_mut())
    }

    /// The call that was made last, and what its callee would answer now.
    pub(super) fn take_last(&mut self) -> (Sent, Answer) {
        let sent = self.ic.0.sent.borrow_mut().pop_back().unwrap();
        let answer = self.others.call(&sent.call);
        (sent, answer)
    }

    /// The only call on its way.
    pub(super) fn take_only(&mut self) -> Sent {
        let mut sent = self.ic.0.sent.borrow_mut();
        assert_eq!(sent.len(), 1);
        sent.pop_front().unwrap()
    }

    /// What the archives say of a request: nothing is lost, and nothing stopped while they are asked. `None` if nobody asks them.
    pub(super) fn look_up(
        &mut self,
        key: u64,
    ) -> Option<Result<Option<Archived>, IdempotencyError>> {
        let keeping = self.keeping();
        let id = Entry::id_of(&identity(key));
        if !keeping.may_hold(&id).unwrap() {
            return None;
        }
        // What else is under way stays so.
        let waiting = mem::take(&mut *self.ic.0.sent.borrow_mut());
        let mut looking_up = keeping.look_up(id);
        let mut context = Context::from_waker(Waker::noop());
        let found = loop {
            match looking_up.as_mut().poll(&mut context) {
                Poll::Ready(found) => break found,
                Poll::Pending => {
                    let sent = self.ic.0.sent.borrow_mut().pop_front().unwrap();
                    let answer = match sent.call.method.as_str() {
                        // A pause.
                        "raw_rand" => Err(rejected(0, "")),
                        _ => self.others.call(&sent.call),
                    };
                    *sent.answer.borrow_mut() = Some(answer);
                }
            }
        };
        *self.ic.0.sent.borrow_mut() = waiting;
        Some(found)
    }

    /// Each request that was executed is known: to the store, or to an archive that is asked. If that can't be asked, or has lost it, the
    /// answer is a refusal, and never that it is not known.
    pub(super) fn check(&mut self) {
        let keep = self.policy.archive.unwrap();
        let executed: Vec<_> = self.executed.clone().into_iter().collect();
        for (key, expected) in executed {
            let known = self.store.0.lookup(&identity(key)).unwrap();
            let record = match known {
                Lookup::Known(record) => record,
                Lookup::Unknown(_) => match self.look_up(key) {
                    Some(Ok(Some(archived))) => archived.record,
                    Some(Ok(None)) => {
                        panic!("{key} is lost, and the archives say that it never was")
                    }
                    Some(Err(error)) => {
                        let others = &self.others;
                        let is_excused = others.has_deleted
                            || (others.canisters.values()).any(|it| it.is_stopped || it.has_lost);
                        assert!(is_excused, "{key}: {error}");
                        continue;
                    }
                    None => panic!("{key} is lost, and the filter says that it never was"),
                },
            };
            let (own, kept) = (fingerprint(key), record.fingerprint);
            assert_eq!(own.shape(), kept.shape(), "{key}");
            assert_eq!(own.matches(&kept), own != Fingerprint::default(), "{key}");
            assert!(!fingerprint(key ^ 4).matches(&kept), "{key}");
            if let (State::Done(reply), Some(expected)) = (&record.state, expected) {
                assert_eq!(reply.bytes, expected);
            } else {
                assert!(keep != Keep::Replies || record.state == State::ReplyDropped);
            }
        }
        for key in self.running.keys().chain(&self.cut_off) {
            let known = self.store.0.lookup(&identity(*key)).unwrap();
            let is_pending =
                matches!(known, Lookup::Known(record) if matches!(record.state, State::Pending(_)));
            assert!(is_pending, "{key} has not ended");
        }
    }

    /// How many requests the store holds.
    pub(crate) fn held(&self) -> u64 {
        self.store.0.stats().entries
    }

    pub(super) fn open(&self) -> u64 {
        (self.running.len() + self.cut_off.len()) as u64
    }

    pub(super) fn overview(&self) -> Overview {
        self.archives.0.overview().unwrap()
    }

    /// Lets time pass until there is a call on its way.
    pub(super) fn settle_until_call(&mut self) {
        while self.on_their_way() == 0 && self.pass(Duration::from_secs(600)) {}
    }

    /// All goes well for so long.
    pub(crate) fn settle(&mut self, time: Duration) {
        let end = self.now().plus(time);
        loop {
            while self.deliver(None) {}
            let left = end.as_nanos().saturating_sub(self.now().as_nanos());
            let has_run = self.pass(Duration::from_nanos(left));
            if !has_run && self.on_their_way() == 0 {
                return;
            }
        }
    }
}

/// There are thousands of worlds.
impl Drop for World {
    fn drop(&mut self) {
        drop(self.ic.0.timers.take());
        drop(self.ic.0.begun.take());
        drop(self.ic.0.sent.take());
    }
}

fn open(
    ic: &Ic,
    [store, archives]: &[VectorMemory; 2],
    policy: Policy,
    archive_policy: &ArchivePolicy,
) -> (TheStore, TheArchives) {
    let store = Store::open(store.clone(), policy, ic.time()).unwrap();
    let archives = Archives::open(archives.clone(), archive_policy.clone()).unwrap();
    let (store, archives) = (TheStore(Rc::new(store)), TheArchives(Rc::new(archives)));
    let of_store = WhileThere(Rc::downgrade(&store.0));
    eviction::open(ic, &of_store);
    install::open(ic, &of_store, &archives);
    (store, archives)
}

pub(super) fn identity(key: u64) -> Identity {
    let mut name = [0; 24];
    name.copy_from_slice(&blake3::hash(&key.to_le_bytes()).as_bytes()[..24]);
    Identity(name)
}

/// Of one thing, of another, of both, or of nothing.
fn fingerprint(key: u64) -> Fingerprint {
    let digest = |of: u8| Digest::from_bytes([of ^ key as u8 | 1; 16]);
    Fingerprint {
        argument: digest(0).filter(|_| key & 1 != 0),
        argument_is: ArgumentIs::Itself,
        chosen: digest(0x80).filter(|_| key & 2 != 0),
    }
}

/// Some are long enough to lie outside of their records.
pub(super) fn reply(key: u64) -> Vec<u8> {
    vec![key as u8; if key.is_multiple_of(3) { 100 } else { 10 }]
}
