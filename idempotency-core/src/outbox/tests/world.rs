//! The Internet Computer around one outbox, natively: time, timers, outcalls that tests answer, and upgrades.

use super::super::{
    Ended, MessageId, Outbox, Overview, Policy, Request, Response, SendError, Status, Transform,
    Verification, drive, handle::Access, send::send,
};
use crate::{
    runtime::{Answer, Egress, Outgoing, Rejected, Runtime},
    table::{Damaged, OpenError},
    time::Timestamp,
};
use candid::Principal;
use ic_management_canister_types::{HttpHeader, HttpMethod, HttpRequestArgs, HttpRequestResult};
use ic_stable_structures::VectorMemory;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    rc::Rc,
    time::Duration,
};

const CANISTER: Principal = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 9, 1, 1]);

/// An outcall that waits for its answer.
pub(super) struct Outcall {
    pub(super) request: HttpRequestArgs,
    pub(super) cycles: u128,
    since: u64,
    ticket: u32,
}

impl Outcall {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let header =
            (self.request.headers.iter()).find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value.as_str())
    }

    pub(super) fn is_question(&self) -> bool {
        self.request.method == HttpMethod::GET
    }
}

#[derive(Default)]
struct Heap {
    timers: BTreeMap<(u64, u64), Box<dyn FnOnce()>>,
    outcalls: Vec<Outcall>,
}

/// What messages see of the IC. Clones are the same.
#[derive(Clone)]
pub(super) struct Ic(Rc<Present>);

struct Present {
    now: Cell<u64>,
    version: Cell<u64>,
    cycles: Cell<u128>,
    count: Cell<u64>,
    heap: RefCell<Heap>,
}

impl Runtime for Ic {
    fn time(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.now.get())
    }

    fn canister(&self) -> Principal {
        CANISTER
    }

    fn call(&self, _: Outgoing) -> impl Future<Output = Answer> + 'static {
        std::future::pending()
    }

    fn after(&self, delay: Duration, task: impl FnOnce() + 'static) {
        let count = self.0.count.get();
        self.0.count.set(count + 1);
        let at = self.0.now.get() + delay.as_nanos() as u64;
        (self.0.heap.borrow_mut().timers).insert((at, count), Box::new(task));
    }

    fn caller(&self) -> Principal {
        unreachable!("an outbox has no caller")
    }

    fn deadline(&self) -> u64 {
        unreachable!("an outbox has no caller")
    }

    fn instructions_of_call(&self) -> u64 {
        unreachable!("an outbox counts none")
    }

    fn argument(&self) -> Vec<u8> {
        unreachable!("an outbox has no caller")
    }

    fn method_name(&self) -> String {
        unreachable!("an outbox has no caller")
    }

    fn cycles_available(&self) -> u128 {
        unreachable!("an outbox has no caller")
    }

    fn accept_cycles(&self, _: u128) {
        unreachable!("an outbox has no caller")
    }

    fn reply(&self, _: &[u8]) {
        unreachable!("an outbox has no caller")
    }

    fn reject(&self, _: &str) {
        unreachable!("an outbox has no caller")
    }

    fn trap(&self, text: &str) -> ! {
        panic!("{text}")
    }

    fn certify(&self, _: &[u8; 32]) {
        unreachable!("an outbox certifies nothing")
    }

    fn may_certify(&self) -> bool {
        unreachable!("an outbox certifies nothing")
    }

    fn data_certificate(&self) -> Option<Vec<u8>> {
        unreachable!("an outbox certifies nothing")
    }

    fn notify(&self, _: Outgoing) {
        unreachable!("an outbox waits for answers")
    }

    #[cfg(feature = "archive")]
    fn in_background(&self, _: impl Future<Output = ()> + 'static) {
        unreachable!("an outbox has no tasks")
    }
}

impl Egress for Ic {
    fn canister_version(&self) -> u64 {
        self.0.version.get()
    }

    fn liquid_cycles(&self) -> u128 {
        self.0.cycles.get()
    }

    fn cost_of_outcall(&self, request_bytes: u64, max_response_bytes: u64) -> u128 {
        49_140_000 + 5_200 * u128::from(request_bytes) + 10_400 * u128::from(max_response_bytes)
    }

    fn on_answer(&self, _: fn(u32, Answer)) {}

    fn outcall(&self, call: &Outgoing, ticket: u32) -> Result<(), Rejected> {
        assert_eq!(
            (call.callee, call.method.as_str()),
            (Principal::management_canister(), "http_request")
        );
        self.0.heap.borrow_mut().outcalls.push(Outcall {
            request: candid::decode_one(&call.argument).unwrap(),
            cycles: call.cycles,
            since: self.0.now.get(),
            ticket,
        });
        Ok(())
    }
}

#[derive(Clone)]
pub(super) struct Handle(Rc<RefCell<Rc<Outbox<VectorMemory>>>>);

impl Access for Handle {
    type Memory = VectorMemory;

    fn with<T>(&self, work: impl FnOnce(&Outbox<VectorMemory>) -> T) -> T {
        let outbox = Rc::clone(&self.0.borrow());
        work(&outbox)
    }
}

thread_local! {
    /// What was told.
    static TOLD: RefCell<Vec<Ended>> = const { RefCell::new(vec![]) };
}

/// One outbox, and everything around it.
pub(super) struct World {
    pub(super) ic: Ic,
    pub(super) memory: VectorMemory,
    pub(super) outbox: Handle,
    policy: Policy,
    is_told: bool,
}

pub(super) const START: u64 = 1_700_000_000_000_000_000;

fn outbox(
    memory: &VectorMemory,
    policy: Policy,
    ic: &Ic,
    is_told: bool,
) -> Result<Outbox<VectorMemory>, OpenError> {
    let outbox = Outbox::open(memory.clone(), policy, Transform::for_tests(), ic)?;
    // A server that was asked says so in the body.
    let outbox = outbox.verify(|_, _, answer| match answer.body.as_slice() {
        b"there" => Verification::Done,
        b"not there" => Verification::NotDone,
        _ => Verification::Unsure,
    });
    Ok(match is_told {
        true => outbox.on_end(|ended| TOLD.with_borrow_mut(|told| told.push(ended.clone()))),
        false => outbox,
    })
}

impl World {
    pub(super) fn new(policy: Policy, is_told: bool) -> Self {
        Self::over(VectorMemory::default(), policy, is_told, START).expect("an empty memory")
    }

    /// Around a memory that was found.
    pub(super) fn of(bytes: Vec<u8>, policy: Policy, now: Timestamp) -> Self {
        Self::try_of(bytes, policy, now).expect("an outbox")
    }

    /// As [`of`](Self::of), if it is an outbox.
    pub(super) fn try_of(bytes: Vec<u8>, policy: Policy, now: Timestamp) -> Option<Self> {
        let memory = VectorMemory::default();
        *memory.borrow_mut() = bytes;
        let world = Self::over(memory, policy, true, now.as_nanos()).ok()?;
        drive::schedule(&world.ic, &world.outbox, now);
        Some(world)
    }

    fn over(
        memory: VectorMemory,
        policy: Policy,
        is_told: bool,
        now: u64,
    ) -> Result<Self, OpenError> {
        TOLD.take();
        let ic = Ic(Rc::new(Present {
            now: Cell::new(now),
            version: Cell::new(1),
            cycles: Cell::new(100_000_000_000_000),
            count: Cell::new(0),
            heap: RefCell::default(),
        }));
        let outbox = outbox(&memory, policy, &ic, is_told)?;
        Ok(Self {
            outbox: Handle(Rc::new(RefCell::new(Rc::new(outbox)))),
            ic,
            memory,
            policy,
            is_told,
        })
    }

    pub(super) fn send(&self, request: Request) -> Result<MessageId, SendError> {
        send(&self.ic, &self.outbox, request)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.ic.time()
    }

    pub(super) fn set_cycles(&self, cycles: u128) {
        self.ic.0.cycles.set(cycles);
    }

    /// Lets time pass, and timers run when they are due.
    pub(super) fn pass(&self, time: Duration) {
        let end = self.ic.0.now.get() + time.as_nanos() as u64;
        loop {
            let first = self.ic.0.heap.borrow().timers.keys().next().copied();
            let oldest = self.ic.0.heap.borrow().outcalls.first().map(|it| it.since);
            // The IC answers each outcall within a minute.
            if let Some(timeout) = oldest.map(|since| since + 60_000_000_001)
                && timeout <= first.map_or(end, |(at, _)| at.min(end))
            {
                self.ic.0.now.set(timeout.max(self.ic.0.now.get()));
                self.answer(0, timed_out());
                continue;
            }
            let Some((at, count)) = first.filter(|(at, _)| *at <= end) else {
                break;
            };
            let now = self.ic.0.now.get().max(at);
            self.ic.0.now.set(now);
            let task = self.ic.0.heap.borrow_mut().timers.remove(&(at, count));
            task.unwrap()();
        }
        self.ic.0.now.set(end);
    }

    /// Lets time pass until an outcall is made.
    pub(super) fn pass_until_sent(&self) {
        for _ in 0..10_000 {
            if self.under_way() > 0 {
                return;
            }
            self.pass(Duration::from_secs(1));
        }
        panic!("nothing is sent");
    }

    pub(super) fn under_way(&self) -> usize {
        self.ic.0.heap.borrow().outcalls.len()
    }

    /// Looks at the outcalls that are under way.
    pub(super) fn outcalls<T>(&self, look: impl Fn(&Outcall) -> T) -> Vec<T> {
        let heap = self.ic.0.heap.borrow();
        heap.outcalls.iter().map(look).collect()
    }

    /// Looks at one of the outcalls that are under way.
    pub(super) fn with_outcall<T>(&self, index: usize, look: impl FnOnce(&Outcall) -> T) -> T {
        look(&self.ic.0.heap.borrow().outcalls[index])
    }

    /// Answers one of the outcalls that are under way.
    pub(super) fn answer(&self, index: usize, answer: Answer) {
        let outcall = self.ic.0.heap.borrow_mut().outcalls.remove(index);
        drive::answered(&self.ic, &self.outbox, outcall.ticket, &mut Some(answer));
    }

    /// Has no answer come, ever: as if the message that it came in had trapped. Or else it comes [late](Self::answer_late).
    pub(super) fn lose(&self, index: usize) -> Outcall {
        self.ic.0.heap.borrow_mut().outcalls.remove(index)
    }

    /// Answers an outcall that was lost.
    pub(super) fn answer_late(&self, outcall: Outcall, answer: Answer) {
        drive::answered(&self.ic, &self.outbox, outcall.ticket, &mut Some(answer));
    }

    /// How many timers are set.
    pub(super) fn timers(&self) -> usize {
        self.ic.0.heap.borrow().timers.len()
    }

    pub(super) fn overview(&self) -> Overview {
        self.outbox.with(Outbox::overview).unwrap()
    }

    pub(super) fn held(&self) -> u64 {
        self.overview().messages
    }

    pub(super) fn bytes(&self) -> u64 {
        self.overview().bytes
    }

    pub(super) fn dismiss(&self, id: MessageId) -> bool {
        self.outbox
            .with(|outbox| outbox.contents()?.dismiss(id))
            .unwrap()
    }

    pub(super) fn resend(&self, id: MessageId) -> bool {
        let now = self.now();
        let is_sent = self.outbox.with(|outbox| outbox.resend(id, now)).unwrap();
        drive::schedule(&self.ic, &self.outbox, now);
        is_sent
    }

    /// The code has no function any more that reads what servers answer.
    pub(super) fn without_verifier(&self) {
        let outbox = Outbox::open(
            self.memory.clone(),
            self.policy,
            Transform::for_tests(),
            &self.ic,
        );
        *self.outbox.0.borrow_mut() = Rc::new(outbox.unwrap());
    }

    /// The code is installed anew, and the answers to what is under way never come; those outcalls.
    pub(super) fn upgrade(&mut self) -> Vec<Outcall> {
        self.upgrade_to(self.policy, self.is_told)
    }

    /// The code is installed anew. What is under way goes on.
    pub(super) fn upgrade_in_flight(&mut self) {
        let outcalls = self.upgrade();
        self.ic.0.heap.borrow_mut().outcalls.extend(outcalls);
    }

    pub(super) fn upgrade_to(&mut self, policy: Policy, is_told: bool) -> Vec<Outcall> {
        (self.policy, self.is_told) = (policy, is_told);
        let heap = self.ic.0.heap.take();
        self.ic.0.version.set(self.ic.0.version.get() + 1);
        let next = outbox(&self.memory, policy, &self.ic, is_told).expect("an outbox");
        *self.outbox.0.borrow_mut() = Rc::new(next);
        drive::schedule(&self.ic, &self.outbox, self.now());
        heap.outcalls
    }

    pub(super) fn try_status(&self, id: MessageId) -> Result<Option<Status>, Damaged> {
        self.outbox.with(|outbox| outbox.status(id))
    }

    pub(super) fn try_overview(&self) -> Result<Overview, Damaged> {
        self.outbox.with(Outbox::overview)
    }

    pub(super) fn try_dead_letters(&self) -> Result<usize, Damaged> {
        let letters = self.outbox.with(|outbox| outbox.dead_letters(None, 1_000));
        letters.map(|letters| letters.len())
    }

    pub(super) fn status(&self, id: MessageId) -> Option<Status> {
        self.outbox.with(|outbox| outbox.status(id)).unwrap()
    }

    /// How a message ended.
    pub(super) fn ended(&self, id: MessageId) -> Option<Ended> {
        match self.status(id) {
            Some(Status::Ended(ended)) => Some(ended),
            _ => None,
        }
    }

    pub(super) fn dead_letters(&self) -> Vec<MessageId> {
        let letters = self.outbox.with(|outbox| outbox.dead_letters(None, 1_000));
        letters.unwrap().into_iter().map(|ended| ended.id).collect()
    }

    /// What was told since this was last asked.
    pub(super) fn told() -> Vec<Ended> {
        TOLD.take()
    }
}

/// An answer of a server.
pub(super) fn answer(status: u16, body: &str) -> Answer {
    with_header(status, body, None)
}

pub(super) fn with_header(status: u16, body: &str, header: Option<(&str, &str)>) -> Answer {
    let response = HttpRequestResult {
        status: status.into(),
        headers: (header.into_iter())
            .map(|(name, value)| HttpHeader {
                name: name.to_owned(),
                value: value.to_owned(),
            })
            .collect(),
        body: body.as_bytes().to_vec(),
    };
    Ok(candid::encode_one(response).unwrap())
}

pub(super) fn rejected(code: u32, message: &str) -> Answer {
    Err(Rejected {
        code,
        message: message.to_owned(),
    })
}

pub(super) fn timed_out() -> Answer {
    rejected(2, "Canister http request timed out")
}

/// What a server answered, as the message's end has it.
pub(super) fn response(status: u16, body: &str) -> Response {
    Response {
        status,
        headers: vec![],
        body: body.as_bytes().to_vec(),
    }
}
