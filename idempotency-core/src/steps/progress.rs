//! How far an attempt has come in what is recorded.
//!
//! A journal says in which order things began and ended. An attempt that replays it keeps to that order: what has ended in the
//! journal gets its result when all entries before are replayed, so that where several steps are under way at once the code
//! goes the way it went. From the end of the journal on the attempt is *live*: what happens is appended.

use super::{
    by_name::ByName,
    entry::{self, Entry, Tried, What},
    journal::Journal,
    log::Log,
    name::StepName,
    policy::Key32,
    reason,
    waiting::UnderWay,
};
use crate::time::Timestamp;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
};

/// Whose code is being executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// Another task's, or nobody's.
    Nothing,
    /// The method's, where steps may be used.
    Body,
    /// A step's, where they may not.
    Action,
}

/// What comes of something that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// It is new: it is to be done, and recorded.
    Live,
    /// It began with this entry, and has perhaps ended.
    Recorded(u32),
    /// It never gets a result in this attempt.
    Stopped,
}

/// What comes of something that began and waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn<'a> {
    /// Something else comes before.
    NotYet,
    /// It ended with this result.
    Ended(&'a [u8]),
    /// All is replayed, and its end was not there.
    Unknown,
}

/// What is next in the order of steps.
enum Next<'a> {
    Entry(usize, Entry<'a>),
    /// All is replayed.
    Nothing,
    /// The request is parked.
    Unreadable,
}

/// All that belongs to one attempt shares it.
pub(super) struct Progress {
    pub(super) log: Log,
    pub(super) under_way: Rc<UnderWay>,
    /// The first entry that is not replayed.
    next: Cell<usize>,
    inside: Cell<Inside>,
    /// The action that was being executed gets no end.
    is_abandoned: Cell<bool>,
    /// When another attempt is to go on, though nothing waits in this one.
    again: Cell<Option<Timestamp>>,
    /// The names of all steps so far, from the first live one on.
    used: RefCell<Option<BTreeSet<StepName>>>,
    by_name: ByName,
    /// Room for an entry that is appended when the present action calls somebody.
    reserved: Cell<Option<usize>>,
}

impl Progress {
    pub(super) fn new(journal: Rc<dyn Journal>, entries: Vec<Vec<u8>>) -> Self {
        Self {
            log: Log::new(journal, entries),
            under_way: Rc::default(),
            next: Cell::new(0),
            inside: Cell::new(Inside::Nothing),
            is_abandoned: Cell::new(false),
            again: Cell::new(None),
            used: RefCell::default(),
            by_name: ByName::default(),
            reserved: Cell::new(None),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.log.journal().now()
    }

    /// Executes code of the method.
    pub(super) fn in_body<T>(&self, execute: impl FnOnce() -> T) -> T {
        self.within(Inside::Body, execute)
    }

    /// Executes code of the action of a step; `fresh`: the step's name, if that it began is not recorded.
    pub(super) fn in_action<T>(
        &self,
        fresh: Option<&StepName>,
        execute: impl FnOnce() -> T,
    ) -> Executed<T> {
        self.reserved
            .set(fresh.map(|name| entry::began_bytes(name.as_bytes())));
        let result = self.within(Inside::Action, execute);
        self.reserved.set(None);
        Executed {
            result,
            is_abandoned: self.is_abandoned.take(),
        }
    }

    fn within<T>(&self, inside: Inside, execute: impl FnOnce() -> T) -> T {
        let before = self.inside.replace(inside);
        let result = execute();
        self.inside.set(before);
        result
    }

    /// The action that is being executed gives up, and the request is parked.
    pub(super) fn abandon(&self, reason: String) {
        self.is_abandoned.set(true);
        self.log.park(reason);
    }

    /// The action that is being executed gives up, until another attempt goes on at `time`.
    pub(super) fn abandon_until(&self, time: Timestamp) {
        self.is_abandoned.set(true);
        self.again.set(earlier(self.again.get(), Some(time)));
    }

    /// When another attempt is to go on, if this one waits for a time.
    pub(super) fn asleep_until(&self) -> Option<Timestamp> {
        earlier(self.again.get(), self.under_way.earliest())
    }

    /// Whether the code of the method is being executed, where what keeps its order may be used. If not, the request is parked.
    pub(super) fn is_in_body(&self, it: impl FnOnce() -> String) -> bool {
        match self.inside.get() {
            Inside::Body => return true,
            Inside::Nothing => self.log.park(reason::OUTSIDE),
            Inside::Action => self.abandon(reason::within(&it())),
        }
        false
    }

    /// The key of a step.
    pub(super) fn key(&self, name: &StepName) -> Key32 {
        self.log.journal().identity().step_key(name.as_bytes())
    }

    fn peek(&self) -> Next<'_> {
        loop {
            let next = self.next.get();
            let Some(bytes) = self.log.entries().get(next) else {
                return Next::Nothing;
            };
            match Entry::read(bytes) {
                Some(Entry::Frozen { .. } | Entry::Tried { .. }) => {}
                // Code that no longer asks for a version is of that version.
                Some(Entry::Version { name }) => {
                    self.by_name.pass(name);
                }
                Some(entry) => return Next::Entry(next, entry),
                None => {
                    self.log.park(reason::DAMAGED);
                    return Next::Unreadable;
                }
            }
            self.next.set(next + 1);
        }
    }

    /// An entry is replayed. Whose turn it is now is woken.
    fn advance(&self, replayed: usize) {
        self.next.set(replayed + 1);
        if self.under_way.is_waiting() {
            match self.peek() {
                Next::Nothing => self.under_way.wake_all(),
                Next::Entry(_, Entry::End { start, .. }) => self.under_way.wake_one(start),
                Next::Entry(..) | Next::Unreadable => {}
            }
        }
    }

    /// Something of the method's begins, in its body.
    pub(super) fn begin(&self, what: What, name: &StepName) -> Begun {
        let bytes = name.as_bytes();
        if self.log.is_parked() {
            return Begun::Stopped;
        }
        match self.peek() {
            Next::Nothing => {
                if self.may_begin(what, name) {
                    return Begun::Live;
                }
            }
            Next::Entry(place, entry) => {
                if let Entry::Start {
                    what: recorded,
                    name: recorded_name,
                    is_done,
                    ..
                } = entry
                    && recorded == what
                    && recorded_name == bytes
                    && let Ok(start) = u32::try_from(place)
                {
                    // One that is done stands for its end, too, which is still to come.
                    if !is_done {
                        self.advance(place);
                    }
                    return Begun::Recorded(start);
                }
                self.log.park(
                    match names(&self.log.entries()[..place]).any(|name| name == bytes) {
                        true => reason::twice(bytes),
                        false => {
                            let now = reason::what(what, bytes);
                            reason::other_order(place, &entry, self.start_of(&entry), &now)
                        }
                    },
                );
            }
            Next::Unreadable => {}
        }
        Begun::Stopped
    }

    /// Whether something new may begin: its name is its own, and that it began can be recorded.
    fn may_begin(&self, what: What, name: &StepName) -> bool {
        let bytes = name.as_bytes();
        if *name != StepName::NONE {
            let mut used = self.used.borrow_mut();
            let used = used
                .get_or_insert_with(|| names(self.log.entries()).map(StepName::recorded).collect());
            if !used.insert(name.clone()) {
                self.log.park(reason::twice(bytes));
            }
        }
        if !self.log.journal().has_room(&[entry::began_bytes(bytes)]) {
            self.log.park(reason::no_room(&reason::what(what, bytes)));
        }
        !self.log.is_parked()
    }

    /// The entry with which something began, if this one is its end.
    fn start_of(&self, entry: &Entry<'_>) -> Option<Entry<'_>> {
        match entry {
            Entry::End { start, .. } => self.log.read(*start),
            _ => None,
        }
    }

    /// What is recorded of something that began with entry `start`, if it is its turn.
    pub(super) fn turn(&self, start: u32) -> Turn<'_> {
        if self.log.is_parked() {
            return Turn::NotYet;
        }
        match self.peek() {
            Next::Nothing => Turn::Unknown,
            Next::Entry(
                place,
                Entry::Start {
                    is_done: true,
                    payload,
                    ..
                },
            ) if place == start as usize => {
                self.advance(place);
                Turn::Ended(payload)
            }
            Next::Entry(
                place,
                Entry::End {
                    start: ended,
                    payload,
                },
            ) if ended == start => {
                self.advance(place);
                Turn::Ended(payload)
            }
            Next::Entry(..) | Next::Unreadable => Turn::NotYet,
        }
    }

    /// Parks if an entry is left that the method should have come to.
    pub(super) fn check_end(&self) {
        if let Next::Entry(place, entry) = self.peek() {
            let start = self.start_of(&entry);
            self.log.park(reason::not_reached(place, &entry, start));
        }
    }

    /// Parks if something waits for its turn for ever, because nothing comes to the entry before.
    pub(super) fn check_order(&self) {
        if self.under_way.is_waiting()
            && let Next::Entry(place, entry) = self.peek()
        {
            let start = self.start_of(&entry);
            self.log.park(reason::stuck(place, &entry, start));
        }
    }

    /// When a name was frozen: now, if it never was. Actions may ask, too: at whatever place, it is the same.
    pub(super) fn frozen(&self, name: &StepName) -> Timestamp {
        if let Some(time) = self.by_name.frozen(&self.log, name) {
            return time;
        }
        if self.inside.get() == Inside::Nothing {
            self.log.park(reason::OUTSIDE);
        }
        let now = self.now();
        self.by_name
            .freeze(&self.log, name, now, self.reserved.get());
        now
    }

    /// How far a safe call had come when it was recorded last, in an earlier attempt.
    pub(super) fn tried(&self, name: &StepName) -> Option<Tried> {
        let mut entries = self.log.entries().iter().rev();
        entries.find_map(|entry| match Entry::read(entry) {
            Some(Entry::Tried { name: it, tried }) if it == name.as_bytes() => Some(tried),
            _ => None,
        })
    }

    /// Records how far the safe call has come that is the present action. Returns whether it may go on; if not, the request is parked.
    pub(super) fn note(&self, name: &StepName, tried: &Tried) -> bool {
        let bytes = name.as_bytes();
        let lengths = [entry::tried_bytes(bytes), self.reserved.get().unwrap_or(0)];
        let reserved = usize::from(self.reserved.get().is_some());
        if !self.log.journal().has_room(&lengths[..=reserved]) {
            self.abandon(reason::no_room(&reason::attempt(bytes)));
        } else if (self.log)
            .append(|entry| entry::put_tried(entry, bytes, tried))
            .is_none()
        {
            self.is_abandoned.set(true);
        }
        !self.log.is_parked()
    }

    /// Whether the code is of a version: so it is recorded, or nothing is that comes after.
    pub(super) fn version(&self, name: &StepName) -> bool {
        if !self.is_in_body(|| reason::version(name.as_bytes())) || self.log.is_parked() {
            return false;
        }
        // Passes those that are recorded here.
        let is_live = matches!(self.peek(), Next::Nothing);
        if let Some(is_it) = self.by_name.version(name) {
            return is_it;
        }
        self.by_name.decide(&self.log, name, is_live);
        is_live
    }
}

/// What an action did when it was executed for a while.
pub(super) struct Executed<T> {
    pub(super) result: T,
    /// It used what it may not, or gave up: if it waits, it does so for ever.
    pub(super) is_abandoned: bool,
}

/// The names of steps that began.
fn names(entries: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    entries.iter().filter_map(|entry| match Entry::read(entry) {
        Some(Entry::Start { name, .. }) if !name.is_empty() => Some(name),
        _ => None,
    })
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
