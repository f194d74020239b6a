//! What is under way at once in an attempt: actions that wait for an answer, and what waits for its turn or for a time.

use crate::time::Timestamp;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    task::Waker,
};

#[derive(Default)]
pub(super) struct UnderWay {
    /// How many actions wait for an answer.
    in_flight: Cell<u32>,
    /// What waits, by the entry with which it began.
    waiting: RefCell<BTreeMap<u32, Waiting>>,
    has_woken: Cell<bool>,
    /// The attempt's own.
    waker: RefCell<Option<Waker>>,
}

struct Waiting {
    /// `None`: when it is its turn in the journal.
    until: Option<Timestamp>,
    waker: Waker,
}

impl UnderWay {
    /// An action has called somebody.
    pub(super) fn begin(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(Rc::clone(self))
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// What began with entry `start` is woken when it is its turn, or the time has come.
    pub(super) fn wait(
        self: &Rc<Self>,
        start: u32,
        until: Option<Timestamp>,
        waker: &Waker,
    ) -> Waits {
        let waker = waker.clone();
        let mut waiting = self.waiting.borrow_mut();
        waiting.insert(start, Waiting { until, waker });
        Waits(Rc::clone(self), start)
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// When the first is woken that waits for a time.
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        let waiting = self.waiting.borrow();
        waiting.values().filter_map(|it| it.until).min()
    }

    /// Its turn has come.
    pub(super) fn wake_one(&self, start: u32) {
        let waiting = self.waiting.borrow_mut().remove(&start);
        waiting.into_iter().for_each(|it| self.wake(it));
    }

    /// The turn of all that wait for one has come.
    pub(super) fn wake_all(&self) {
        self.wake_where(|it| it.until.is_none());
    }

    pub(super) fn wake_due(&self, now: Timestamp) {
        self.wake_where(|it| it.until.is_some_and(|until| until <= now));
    }

    /// The attempt is polled with this waker, and needs not be woken by what it does itself.
    pub(super) fn is_polled_with(&self, waker: &Waker) {
        let mut own = self.waker.borrow_mut();
        if !own.as_ref().is_some_and(|own| own.will_wake(waker)) {
            *own = Some(waker.clone());
        }
    }

    /// Whether somebody was woken since this was last asked.
    pub(super) fn take_has_woken(&self) -> bool {
        self.has_woken.take()
    }

    fn wake_where(&self, is_due: impl Fn(&Waiting) -> bool) {
        let due = |(start, it): (&u32, &Waiting)| is_due(it).then_some(*start);
        let due: Vec<_> = self.waiting.borrow().iter().filter_map(due).collect();
        due.into_iter().for_each(|start| self.wake_one(start));
    }

    fn wake(&self, waiting: Waiting) {
        self.has_woken.set(true);
        let own = self.waker.borrow().clone();
        if !own.is_some_and(|own| own.will_wake(&waiting.waker)) {
            waiting.waker.wake();
        }
    }
}

/// An action that waits for an answer, until it is dropped.
pub(super) struct InFlight(Rc<UnderWay>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

/// Something that waits to be woken, until it is dropped.
pub(super) struct Waits(Rc<UnderWay>, u32);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().remove(&self.1);
    }
}
