//! One way: what happens, and what may happen next.

use super::{
    super::super::endpoints::{FORGET, KEEP, Plan},
    Case, Fault, Sends,
    message::{Message, OfCall, Task},
    start::Start,
};
use crate::{
    access::StoreAccess as _,
    archive::tests::{
        ic::{self, Sent},
        others::rejected,
        world::{CANISTER, WINDOW, World},
    },
    attempt::{
        resolution::Nobody,
        serve::{serve, serve_async},
    },
    runtime::{Outgoing, Runtime as _},
    store::{Stats, Store},
};
use candid::Principal;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    mem,
    rc::Rc,
    task::{Context, Waker},
};

/// So many timers run before a shipment is sent, at the most.
const MOST_TIMERS: u32 = 8;

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Sends(usize),
    /// A call arrives, and is executed.
    Executes(usize),
    /// An answer arrives.
    Answers(usize),
    /// A window passes, and timers run until something is sent.
    WindowPasses,
    GoesWrong(Fault, usize),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Reply(Vec<u8>),
    CutOff,
}

/// A call that has arrived.
pub(super) struct Call {
    pub(super) sends: Sends,
    pub(super) message: OfCall,
    pub(super) waits: Option<Task>,
    pub(super) end: Option<End>,
}

/// A call of the canister's on its way.
struct OnItsWay {
    /// For which of the calls; for none if it is a shipment's.
    pub(super) of: Option<usize>,
    pub(super) sent: Sent,
    /// What it was answered with, if it was executed.
    pub(super) answer: Option<ic::Answer>,
}

impl OnItsWay {
    fn is_to_archive(&self) -> bool {
        self.sent.call.callee != Principal::management_canister()
            && self.sent.call.callee != CANISTER
    }
}

/// How often each request was executed, and with which arguments last.
pub(super) type Effects = Rc<RefCell<BTreeMap<u64, (u32, bool)>>>;

pub(super) struct Way<'a> {
    pub(super) case: &'a Case,
    pub(super) start: &'a Start,
    pub(super) world: World,
    pub(super) calls: Vec<Call>,
    on_their_way: Vec<OnItsWay>,
    /// What the heaps before this one held: no destructor runs.
    gone: Vec<Task>,
    pub(super) effects: Effects,
    pub(super) faults: Vec<Fault>,
    pub(super) windows: u32,
    pub(super) events: Vec<Event>,
}

impl<'a> Way<'a> {
    pub(super) fn new(case: &'a Case, start: &'a Start) -> Self {
        Self {
            case,
            start,
            world: start.world.again(),
            calls: vec![],
            on_their_way: vec![],
            gone: vec![],
            effects: Effects::default(),
            faults: vec![],
            windows: 0,
            events: vec![],
        }
    }

    pub(super) fn stats(&self) -> Stats {
        self.world.store.with(Store::stats)
    }

    /// A call arrives.
    pub(super) fn send(&mut self, sends: Sends) {
        let key = self.start.keys[sends.key];
        let plan = Plan {
            sleeps: sends.is_other,
            ..Plan::default()
        };
        let message = OfCall(Rc::new(Message {
            ic: self.world.ic.clone(),
            argument: candid::encode_args((key, plan)).expect("it encodes"),
            instructions: Cell::new(1_000),
            is_first: Cell::new(true),
            reply: Cell::default(),
            spawned: Cell::default(),
        }));
        let (its, store, effects) = (
            message.clone(),
            self.world.store.clone(),
            self.effects.clone(),
        );
        let effect = move |key, plan: Plan| {
            let mut effects = effects.borrow_mut();
            let (count, is_other) = effects.entry(key).or_default();
            (*count, *is_other) = (*count + 1, plan.sleeps);
            u64::from(*count)
        };
        let waits: Option<Task> = if self.case.is_async {
            let ic = its.clone();
            let run = move |(key, plan)| async move {
                let count = effect(key, plan);
                let call = Outgoing {
                    callee: CANISTER,
                    method: "nothing".to_owned(),
                    argument: vec![],
                    cycles: 0,
                    timeout: None,
                };
                let _ = ic.call(call).await;
                Ok(count)
            };
            Some(Box::pin(serve_async(its, store, &KEEP, run, Nobody)))
        } else {
            serve(&its, &store, &FORGET, move |(key, plan)| {
                Ok(effect(key, plan))
            });
            its.0.spawned.take()
        };
        self.calls.push(Call {
            sends,
            message,
            waits,
            end: None,
        });
        self.go_on(self.calls.len() - 1);
    }

    /// A message of a call, to its end.
    pub(super) fn go_on(&mut self, number: usize) {
        let call = &mut self.calls[number];
        let mut context = Context::from_waker(Waker::noop());
        if let Some(task) = &mut call.waits
            && task.as_mut().poll(&mut context).is_ready()
        {
            call.waits = None;
        }
        call.message.0.is_first.set(false);
        call.end = call.message.0.reply.take().map(End::Reply);
        assert_eq!(
            call.waits.is_none(),
            call.end.is_some(),
            "it waits or is answered"
        );
        self.post(Some(number));
    }

    /// Whether the archives may still change, or stop.
    pub(super) fn is_settled(&self) -> bool {
        let changes = |fault| matches!(fault, &Fault::Stop | &Fault::Reinstall);
        let may_fail = self.faults.len() < self.case.most_faults;
        self.windows == self.case.most_windows
            && !(may_fail && self.case.faults.iter().any(changes))
    }

    /// What a message has sent is on its way when it has ended.
    pub(super) fn post(&mut self, of: Option<usize>) {
        let sent = self.world.take_sent().into_iter();
        self.on_their_way.extend(sent.map(|sent| OnItsWay {
            of,
            sent,
            answer: None,
        }));
    }

    pub(super) fn answer(&mut self, place: usize, answer: ic::Answer) {
        let OnItsWay { of, sent, .. } = self.on_their_way.remove(place);
        sent.answer(answer);
        match of {
            Some(number) => {
                let used = &self.calls[number].message.0.instructions;
                used.set(used.get() + 1_000);
                self.go_on(number);
            }
            None => {
                self.world.poll();
                self.post(None);
            }
        }
    }

    pub(super) fn execute(&mut self, place: usize) {
        let on_its_way = &mut self.on_their_way[place];
        on_its_way.answer = Some(self.world.others.call(&on_its_way.sent.call));
    }

    /// What may happen next; nothing if all calls have ended.
    pub(super) fn possible(&self) -> Vec<Event> {
        let mut sent: Vec<_> = self.calls.iter().map(|call| call.sends).collect();
        let mut possible = vec![];
        // Of those that are equal one comes first.
        for (number, sends) in self.case.calls.iter().enumerate() {
            match sent.iter().position(|other| other == sends) {
                Some(other) => drop(sent.swap_remove(other)),
                None if self.case.calls[..number].contains(sends)
                    && possible.iter().any(|event| {
                        matches!(event, Event::Sends(other) if self.case.calls[*other] == *sends)
                    }) => {}
                None => possible.push(Event::Sends(number)),
            }
        }
        let is_over = possible.is_empty() && self.calls.iter().all(|call| call.end.is_some());
        if is_over {
            return vec![];
        }
        let mut is_first = true;
        for (place, on_its_way) in self.on_their_way.iter().enumerate() {
            match &on_its_way.answer {
                Some(_) => possible.push(Event::Answers(place)),
                None if !on_its_way.is_to_archive() => possible.push(Event::Answers(place)),
                // It does not matter when it is executed.
                None if self.is_settled() => possible.push(Event::Answers(place)),
                // Calls of one canister to another keep their order.
                None => {
                    if mem::take(&mut is_first) {
                        possible.push(Event::Executes(place));
                    }
                }
            }
        }
        let ships = self.on_their_way.iter().any(|it| it.of.is_none());
        let is_held = self.stats().entries > self.start.stats.entries;
        if self.windows < self.case.most_windows && is_held && !ships {
            possible.push(Event::WindowPasses);
        }
        if self.faults.len() < self.case.most_faults {
            for fault in self.case.faults {
                let places = self.on_their_way.iter().enumerate();
                match fault {
                    Fault::Refused => possible.extend(
                        places
                            .filter(|(_, it)| it.is_to_archive() && it.answer.is_none())
                            .map(|(place, _)| Event::GoesWrong(*fault, place)),
                    ),
                    Fault::Lost => possible.extend(
                        places
                            .filter(|(_, it)| it.is_to_archive())
                            .map(|(place, _)| Event::GoesWrong(*fault, place)),
                    ),
                    Fault::Stop | Fault::Reinstall if self.faults.contains(fault) => {}
                    Fault::Stop | Fault::Reinstall | Fault::Upgrade => {
                        possible.push(Event::GoesWrong(*fault, 0));
                    }
                }
            }
        }
        possible
    }

    pub(super) fn happen(&mut self, event: Event) {
        self.events.push(event);
        match event {
            Event::Sends(number) => self.send(self.case.calls[number]),
            Event::Executes(place) => self.execute(place),
            Event::Answers(place) => {
                let on_its_way = &self.on_their_way[place];
                if on_its_way.answer.is_none() && on_its_way.is_to_archive() {
                    self.execute(place);
                }
                let answer = match self.on_their_way[place].answer.take() {
                    Some(answer) => answer,
                    // A pause, which is over; or the method's own call.
                    None => Err(rejected(0, "")),
                };
                self.answer(place, answer);
            }
            Event::WindowPasses => {
                self.windows += 1;
                // One that has not ended is moved from window to window, and nothing is sent.
                for _ in 0..MOST_TIMERS {
                    if self.world.on_their_way() > 0 || !self.world.pass(2 * WINDOW) {
                        break;
                    }
                }
                self.post(None);
            }
            Event::GoesWrong(fault, place) => {
                self.faults.push(fault);
                self.go_wrong(fault, place);
            }
        }
    }

    pub(super) fn go_wrong(&mut self, fault: Fault, place: usize) {
        match fault {
            Fault::Refused => self.answer(place, Err(rejected(2, "refused"))),
            Fault::Lost => self.answer(place, Err(rejected(6, "lost"))),
            Fault::Stop => {
                for canister in self.world.others.canisters.values_mut() {
                    canister.is_stopped = true;
                }
            }
            Fault::Reinstall => {
                for canister in self.world.others.canisters.values_mut() {
                    canister.reinstall();
                }
            }
            Fault::Upgrade => {
                for gone in mem::take(&mut self.on_their_way) {
                    if gone.of.is_none() && gone.answer.is_none() {
                        let _ = self.world.others.call(&gone.sent.call);
                    }
                }
                for call in self.calls.iter_mut().filter(|call| call.end.is_none()) {
                    self.gone.extend(call.waits.take());
                    call.end = Some(End::CutOff);
                }
                self.world.upgrade();
            }
        }
    }

    /// Nothing goes wrong any more, until all that have come have ended.
    pub(super) fn let_end(&mut self) {
        while !self.on_their_way.is_empty() {
            if self.on_their_way[0].answer.is_none() && self.on_their_way[0].is_to_archive() {
                self.execute(0);
            }
            let answer = self.on_their_way[0].answer.take();
            self.answer(0, answer.unwrap_or(Err(rejected(0, ""))));
        }
        let waits = self.calls.iter().filter(|call| call.end.is_none()).count();
        assert_eq!(waits, 0, "somebody waits for ever");
    }
}

/// Prints the way to what is wrong.
impl Drop for Way<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after {:?}", self.events);
        }
    }
}
