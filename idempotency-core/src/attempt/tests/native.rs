//! The runtime of tests.

use crate::{
    runtime::{Outgoing, Rejected, Runtime},
    time::Timestamp,
};
use candid::Principal;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    mem,
    panic::resume_unwind,
    rc::Rc,
    task::Poll,
    time::Duration,
};

/// What the present message sees of the IC, and does to it. Clones are the same.
#[derive(Clone, Default)]
pub(in super::super) struct Native(Rc<Present>);

#[derive(Default)]
struct Present {
    now: Cell<u64>,
    stage: Cell<Stage>,
    message: RefCell<Option<Message>>,
    /// Those that came with the call and are not accepted yet.
    cycles: Cell<u128>,
    reply: RefCell<Option<Vec<u8>>>,
    /// What goes on with the call of the message.
    #[cfg(feature = "archive")]
    spawned: Cell<Option<std::pin::Pin<Box<dyn Future<Output = ()>>>>>,
    sent: RefCell<Vec<Sent>>,
    /// Whose call to somebody else was made.
    asked: Cell<Option<u64>>,
    timers: RefCell<Vec<Timer>>,
    effects: RefCell<Effects>,
    certified: Cell<[u8; 32]>,
}

/// The canister itself.
pub(super) const CANISTER: Principal = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 9, 1, 1]);

/// A message of a call.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) caller: Principal,
    /// Until when the caller waits, ns; 0 for as long as it takes.
    pub(super) deadline: u64,
    /// The instructions that the call has used.
    pub(super) instructions: u64,
    pub(super) method: &'static str,
    pub(super) argument: Vec<u8>,
}

/// What kind of message is executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "timers"),
    expect(
        dead_code,
        reason = "only with timers does a request go on without its client"
    )
)]
pub(super) enum Stage {
    /// `init`, `post_upgrade`, or a timer's message.
    #[default]
    Timer,
    /// A call's first message, or its inspection.
    First,
    /// A callback, with the answer to what was awaited.
    Callback(u64),
    /// A callback, as what was awaited was rejected.
    Rejected,
    /// The callback that follows a trap in another one.
    Cleanup,
}

/// When a timer runs, ns, and what.
type Timer = (u64, Box<dyn FnOnce()>);

/// How many times which segment of which request's work was executed, and its effect stands.
pub(super) type Effects = BTreeMap<(u64, u8), u32>;

/// A call of the canister to itself.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) call: Outgoing,
    /// Whether the message waits for the answer.
    pub(super) is_awaited: bool,
}

/// What unwinds when a message traps, with its text.
pub(super) struct Trap(pub(super) String);

impl Native {
    /// A message begins.
    pub(super) fn enter(&self, stage: Stage, message: Message) {
        self.0.stage.set(stage);
        self.0.cycles.set(0);
        self.0.message.replace(Some(message));
    }

    /// The message is of a call that came with cycles.
    pub(super) fn bring(&self, cycles: u128) {
        self.0.cycles.set(cycles);
    }

    /// The calls of the canister to itself that the message made, when it has ended.
    pub(super) fn take_sent(&self) -> Vec<Sent> {
        self.0.sent.take()
    }

    /// With which key the message called somebody else, when it has ended.
    pub(super) fn take_asked(&self) -> Option<u64> {
        self.0.asked.take()
    }

    /// What the message was answered with, when it has ended.
    pub(super) fn take_reply(&self) -> Option<Vec<u8>> {
        self.0.reply.take()
    }

    /// What the message has spawned, when it has ended.
    #[cfg(feature = "archive")]
    pub(super) fn take_spawned(&self) -> Option<std::pin::Pin<Box<dyn Future<Output = ()>>>> {
        self.0.spawned.take()
    }

    /// The certified data.
    pub(super) fn certified(&self) -> [u8; 32] {
        self.0.certified.get()
    }

    /// Time passes.
    pub(super) fn pass(&self, time: Duration) {
        self.0.now.set(self.0.now.get() + time.as_nanos() as u64);
    }

    /// A timer whose time has come, and whose message begins.
    pub(super) fn due(&self) -> Option<Box<dyn FnOnce()>> {
        let mut timers = self.0.timers.borrow_mut();
        let due = timers
            .iter()
            .position(|(due, _)| *due <= self.0.now.get())?;
        self.0.stage.set(Stage::Timer);
        Some(timers.remove(due).1)
    }

    /// How many timers are set.
    #[cfg(feature = "timers")]
    pub(super) fn timers(&self) -> usize {
        self.0.timers.borrow().len()
    }

    /// At an upgrade; no destructor runs.
    pub(super) fn forget_timers(&self) {
        self.0.timers.take().into_iter().for_each(mem::forget);
    }

    /// Calls somebody, and awaits the answer.
    pub(super) async fn outcall(&self) -> u64 {
        self.answer().await.expect("only the canister rejects")
    }

    /// As above, with a key, by which the test knows whose call it is.
    pub(super) async fn outcall_with(&self, key: u64) -> u64 {
        self.0.asked.set(Some(key));
        self.outcall().await
    }

    async fn answer(&self) -> Result<u64, Rejected> {
        let mut is_made = false;
        poll_fn(|_| match (is_made, self.0.stage.get()) {
            (true, Stage::Callback(answer)) => Poll::Ready(Ok(answer)),
            (true, Stage::Rejected) => Poll::Ready(Err(Rejected {
                code: 5,
                message: String::new(),
            })),
            (true, stage) => panic!("woken in {stage:?}"),
            (false, _) => {
                is_made = true;
                Poll::Pending
            }
        })
        .await
    }

    /// Does something that a repetition would do again.
    pub(super) fn effect(&self, key: u64, segment: u8) {
        let mut effects = self.0.effects.borrow_mut();
        *effects.entry((key, segment)).or_default() += 1;
    }

    pub(super) fn effects(&self) -> Effects {
        self.0.effects.borrow().clone()
    }

    /// Whether the message is a cleanup callback.
    pub(super) fn is_cleaning_up(&self) -> bool {
        self.0.stage.get() == Stage::Cleanup
    }

    fn of_message<T>(&self, look: impl FnOnce(&Message) -> T) -> T {
        let message = self.0.message.borrow();
        look(message.as_ref().expect("the message is of a call"))
    }
}

impl Runtime for Native {
    fn certify(&self, data: &[u8; 32]) {
        assert_ne!(self.0.stage.get(), Stage::Cleanup, "it would trap");
        self.0.certified.set(*data);
    }

    fn may_certify(&self) -> bool {
        self.0.stage.get() != Stage::Cleanup
    }

    /// Only the data: that there is none says that the message is replicated.
    fn data_certificate(&self) -> Option<Vec<u8>> {
        let is_query = self.0.stage.get() == Stage::First;
        is_query.then(|| self.0.certified.get().to_vec())
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.now.get())
    }

    fn canister(&self) -> Principal {
        CANISTER
    }

    fn caller(&self) -> Principal {
        self.of_message(|message| message.caller)
    }

    fn deadline(&self) -> u64 {
        assert!(!self.is_cleaning_up(), "a cleanup can't ask for it");
        self.of_message(|message| message.deadline)
    }

    fn instructions_of_call(&self) -> u64 {
        self.of_message(|message| message.instructions)
    }

    fn argument(&self) -> Vec<u8> {
        assert_eq!(self.0.stage.get(), Stage::First, "a callback has none");
        self.of_message(|message| message.argument.clone())
    }

    fn method_name(&self) -> String {
        self.of_message(|message| message.method.to_owned())
    }

    fn cycles_available(&self) -> u128 {
        assert!(!self.is_cleaning_up(), "a cleanup can't ask for them");
        self.0.cycles.get()
    }

    fn accept_cycles(&self, cycles: u128) {
        self.0.cycles.set(self.0.cycles.get() - cycles);
    }

    fn reply(&self, bytes: &[u8]) {
        let before = self.0.reply.replace(Some(bytes.to_vec()));
        assert_eq!(before, None, "a call is answered once");
    }

    fn reject(&self, _: &str) {
        unreachable!("no method here rejects");
    }

    fn trap(&self, text: &str) -> ! {
        resume_unwind(Box::new(Trap(text.to_owned())))
    }

    fn call(&self, call: Outgoing) -> impl Future<Output = Result<Vec<u8>, Rejected>> + 'static {
        let ic = self.clone();
        async move {
            assert_eq!(call.callee, CANISTER, "others are called by `outcall`");
            let is_awaited = true;
            ic.0.sent.borrow_mut().push(Sent { call, is_awaited });
            Ok(ic.answer().await?.to_le_bytes().to_vec())
        }
    }

    #[cfg(feature = "archive")]
    fn in_background(&self, task: impl Future<Output = ()> + 'static) {
        let before = self.0.spawned.replace(Some(Box::pin(task)));
        assert!(before.is_none(), "a message spawns one task");
    }

    #[cfg(feature = "timers")]
    fn notify(&self, call: Outgoing) {
        let is_awaited = false;
        self.0.sent.borrow_mut().push(Sent { call, is_awaited });
    }

    #[cfg(feature = "timers")]
    fn after(&self, delay: Duration, task: impl FnOnce() + 'static) {
        let due = self.0.now.get() + delay.as_nanos() as u64;
        self.0.timers.borrow_mut().push((due, Box::new(task)));
    }
}
