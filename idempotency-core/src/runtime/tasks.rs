//! Tasks that may be under way at an upgrade.
//!
//! ic-cdk has the IC remember a call by the address of what waits for its answer. If an upgrade comes between, the answer is written to an
//! address of the next heap. Whoever makes calls by timer has them under way at any upgrade, and a canister of sync methods expects none at
//! all. So these tasks have a small executor of their own: a call is remembered by a *ticket*, a number that whichever heap gets the answer
//! looks up. A heap that did not make the call finds nothing, and does nothing.

use super::outgoing::Answer;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Where the answer to a call is put.
type Slot = Rc<RefCell<Option<Answer>>>;

/// A task, and the call that it waits for.
pub(super) struct Waiting {
    task: Task,
    slot: Slot,
}

impl Waiting {
    /// The call was answered.
    pub(super) fn go_on(self, answer: Answer) {
        self.slot.replace(Some(answer));
        run(self.task);
    }
}

thread_local! {
    /// By tickets.
    static WAITING: RefCell<BTreeMap<u32, Waiting>> = const { RefCell::new(BTreeMap::new()) };
    /// A task is being polled.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
    /// What it waits for, once it does.
    static WAITS_FOR: Cell<Option<(u32, Slot)>> = const { Cell::new(None) };
}

/// Whether whoever makes a call now is such a task.
pub(super) fn is_running() -> bool {
    IS_RUNNING.get()
}

/// Goes on with a task until it waits for a call. One that waits for something else is dropped: nobody would wake it.
pub(super) fn run(mut task: Task) {
    // A task that begins another one goes on after it.
    let (outer, outer_waits) = (IS_RUNNING.replace(true), WAITS_FOR.take());
    let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let waits_for = WAITS_FOR.replace(outer_waits);
    IS_RUNNING.set(outer);
    if let (Poll::Pending, Some((ticket, slot))) = (polled, waits_for) {
        WAITING.with_borrow_mut(|waiting| waiting.insert(ticket, Waiting { task, slot }));
    }
}

/// Waits for the answer to the call with a ticket, which a task has made.
pub(super) async fn answer_to(ticket: u32) -> Answer {
    let slot = Slot::default();
    poll_fn(|_| match slot.borrow_mut().take() {
        Some(answer) => Poll::Ready(answer),
        None => {
            WAITS_FOR.set(Some((ticket, Rc::clone(&slot))));
            Poll::Pending
        }
    })
    .await
}

/// Who waits for the answer to a call, if this heap has made it.
pub(super) fn take(ticket: usize) -> Option<Waiting> {
    let ticket = u32::try_from(ticket).ok()?;
    WAITING.with_borrow_mut(|waiting| waiting.remove(&ticket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Rejected;

    fn waits(ticket: u32, told: &Rc<RefCell<Vec<Answer>>>) -> Task {
        let told = Rc::clone(told);
        Box::pin(async move {
            for next in ticket..ticket + 2 {
                let answer = answer_to(next).await;
                told.borrow_mut().push(answer);
            }
        })
    }

    #[test]
    fn an_answer_goes_to_who_waits_for_it_and_to_nobody_else() {
        let told = Rc::default();
        run(waits(10, &told));
        run(waits(20, &told));
        assert!(!is_running());
        // It was another heap's.
        assert!(take(7).is_none());
        take(20).unwrap().go_on(Ok(vec![1]));
        assert!(take(20).is_none(), "an answer comes once");
        let rejected = Rejected {
            code: 2,
            message: "no".to_owned(),
        };
        take(10).unwrap().go_on(Err(rejected.clone()));
        take(21).unwrap().go_on(Ok(vec![2]));
        assert_eq!(*told.borrow(), [Ok(vec![1]), Err(rejected), Ok(vec![2])]);
        assert!(take(21).is_none() && take(22).is_none(), "it has ended");
        // As the cleanup after a trap does: what it holds lets go.
        assert_eq!(Rc::strong_count(&told), 2);
        drop(take(11));
        assert_eq!(Rc::strong_count(&told), 1);
    }

    #[test]
    fn a_task_that_begins_another_goes_on_after_it() {
        let told: Rc<RefCell<Vec<Answer>>> = Rc::default();
        let its = Rc::clone(&told);
        run(Box::pin(async move {
            run(waits(30, &its));
            assert!(is_running());
            let answer = answer_to(40).await;
            its.borrow_mut().push(answer);
        }));
        take(40).unwrap().go_on(Ok(vec![4]));
        take(30).unwrap().go_on(Ok(vec![3]));
        assert_eq!(*told.borrow(), [Ok(vec![4]), Ok(vec![3])]);
    }

    #[test]
    fn what_nobody_would_wake_is_dropped() {
        let told: Rc<RefCell<Vec<Answer>>> = Rc::default();
        let its = Rc::clone(&told);
        run(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(its);
        }));
        assert_eq!(Rc::strong_count(&told), 1);
    }
}
