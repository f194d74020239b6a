//! What messages see of the IC: a clock, timers, and calls that are answered when the test says so.

use super::world::CANISTER;
use crate::{
    runtime::{Outgoing, Rejected, Runtime},
    time::Timestamp,
};
use candid::Principal;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

pub(crate) type Answer = Result<Vec<u8>, Rejected>;
pub(super) type Slot = Rc<RefCell<Option<Answer>>>;
pub(super) type Timer = Box<dyn FnOnce()>;
pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A call on its way.
pub(crate) struct Sent {
    pub(crate) call: Outgoing,
    pub(super) answer: Slot,
}

impl Sent {
    pub(crate) fn answer(self, answer: Answer) {
        *self.answer.borrow_mut() = Some(answer);
    }
}

/// What messages see of the IC. Clones are the same.
#[derive(Clone)]
pub(crate) struct Ic(pub(super) Rc<Present>);

#[derive(Default)]
pub(crate) struct Present {
    pub(super) now: Cell<u64>,
    pub(super) count: Cell<u64>,
    pub(super) timers: RefCell<BTreeMap<(u64, u64), Timer>>,
    pub(super) begun: RefCell<Vec<Task>>,
    pub(super) sent: RefCell<VecDeque<Sent>>,
}

impl Runtime for Ic {
    fn time(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.now.get())
    }

    fn canister(&self) -> Principal {
        CANISTER
    }

    fn call(&self, call: Outgoing) -> impl Future<Output = Answer> + 'static {
        let ic = self.clone();
        async move {
            let answer = Slot::default();
            let sent = Sent {
                call,
                answer: Rc::clone(&answer),
            };
            ic.0.sent.borrow_mut().push_back(sent);
            poll_fn(move |_| match answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => Poll::Pending,
            })
            .await
        }
    }

    fn in_background(&self, task: impl Future<Output = ()> + 'static) {
        self.0.begun.borrow_mut().push(Box::pin(task));
    }

    fn after(&self, delay: Duration, task: impl FnOnce() + 'static) {
        let count = self.0.count.get();
        self.0.count.set(count + 1);
        let at = self.0.now.get() + delay.as_nanos() as u64;
        (self.0.timers.borrow_mut()).insert((at, count), Box::new(task));
    }

    fn caller(&self) -> Principal {
        unreachable!("archives have no caller")
    }

    fn deadline(&self) -> u64 {
        unreachable!("archives have no caller")
    }

    fn instructions_of_call(&self) -> u64 {
        unreachable!("archives count none")
    }

    fn argument(&self) -> Vec<u8> {
        unreachable!("archives have no caller")
    }

    fn method_name(&self) -> String {
        unreachable!("archives have no caller")
    }

    fn cycles_available(&self) -> u128 {
        unreachable!("archives have no caller")
    }

    fn accept_cycles(&self, _: u128) {
        unreachable!("archives have no caller")
    }

    fn reply(&self, _: &[u8]) {
        unreachable!("archives have no caller")
    }

    fn reject(&self, _: &str) {
        unreachable!("archives have no caller")
    }

    fn trap(&self, text: &str) -> ! {
        panic!("{text}")
    }

    fn certify(&self, _: &[u8; 32]) {
        unreachable!("archives certify nothing here")
    }

    fn may_certify(&self) -> bool {
        false
    }

    fn data_certificate(&self) -> Option<Vec<u8>> {
        None
    }

    fn notify(&self, _: Outgoing) {
        unreachable!("archives wait for answers")
    }
}
