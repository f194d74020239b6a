//! Tasks that may be under way at an upgrade.
//!
//! ic-cdk has the IC remember a call by the address of what waits for its answer. If an upgrade comes between, the answer is written to an
//! address of the next heap. Whoever makes calls by timer has them under way at any upgrade, and a canister of sync methods expects none at
//! all. So these tasks have a small executor of their own: a call is remembered by a *ticket*, a number that whichever heap gets the answer
//! looks up. A heap that did not make the call finds nothing, and does nothing.

use super::{Outgoing, Rejected, perform};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Answer = Result<Vec<u8>, Rejected>;

/// Where the answer to a call is put.
type Slot = Rc<RefCell<Option<Answer>>>;

/// A task, and the call that it waits for.
struct Waiting {
    task: Task,
    slot: Slot,
}

thread_local! {
    /// By tickets.
    static WAITING: RefCell<BTreeMap<u32, Waiting>> = const { RefCell::new(BTreeMap::new()) };
    /// A task is being polled: what it waits for, once it does.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
    static WAITS_FOR: Cell<Option<(u32, Slot)>> = const { Cell::new(None) };
    /// The first of the message that made the last call, and how many it made after that.
    static LAST_TICKET: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// Whether whoever makes a call now is such a task.
pub(super) fn is_running() -> bool {
    IS_RUNNING.get()
}

/// Begins a task, and goes on with it as long as it does not wait.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    run(Box::pin(task));
}

/// Goes on with a task until it waits for a call. One that waits for something else is dropped: nobody would wake it.
fn run(mut task: Task) {
    // A task that begins another one goes on after it.
    let (outer, outer_waits) = (IS_RUNNING.replace(true), WAITS_FOR.take());
    let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let waits_for = WAITS_FOR.replace(outer_waits);
    IS_RUNNING.set(outer);
    if let (Poll::Pending, Some((ticket, slot))) = (polled, waits_for) {
        WAITING.with_borrow_mut(|waiting| waiting.insert(ticket, Waiting { task, slot }));
    }
}

/// Makes a call, and waits for the answer.
pub(super) async fn call(outgoing: Outgoing) -> Answer {
    let ticket = next_ticket();
    let slot = Slot::default();
    perform(&outgoing, ticket, answered, Some(dropped))?;
    drop(outgoing);
    poll_fn(|_| match slot.borrow_mut().take() {
        Some(answer) => Poll::Ready(answer),
        None => {
            WAITS_FOR.set(Some((ticket, Rc::clone(&slot))));
            Poll::Pending
        }
    })
    .await
}

/// No other call has it that may be under way: the canister's version is another one in each message, and a message makes few such calls.
fn next_ticket() -> u32 {
    let version = (ic_cdk::api::canister_version() as u32) << 4;
    let (last, count) = LAST_TICKET.get();
    let count = if last == version { count + 1 } else { 0 };
    LAST_TICKET.set((version, count));
    version.wrapping_add(count)
}

fn take(ticket: usize) -> Option<Waiting> {
    let ticket = u32::try_from(ticket).ok()?;
    WAITING.with_borrow_mut(|waiting| waiting.remove(&ticket))
}

/// What the IC calls with the answer to a call.
extern "C" fn answered(ticket: usize) {
    if let Some(Waiting { task, slot }) = take(ticket) {
        slot.replace(Some(super::answer()));
        // What it runs may be a method, which may begin tasks of ic-cdk.
        ic_cdk::futures::internals::in_executor_context(|| run(task));
    }
}

/// What the IC calls when that has trapped: the task does not go on, and whatever it holds lets go.
extern "C" fn dropped(ticket: usize) {
    drop(take(ticket));
}
