//! What wakes an attempt must be an answer to a call that the attempt has made.
//!
//! ic-cdk names a call that it makes by the heap address of what awaits the answer. An answer that comes after an upgrade
//! leads to that address in the new heap, where another attempt may await another answer: it would go on with a wrong
//! answer, in the name of the old call, and both its record and the old call's client would get what it makes of that.
//!
//! The IC does not tell a callback which call it continues, only some of its properties; an attempt that sees others than
//! those it had is not the one that is called for. It traps, in the callback and again in the cleanup, so that the IC
//! undoes both: what ic-cdk has taken from the attempt is back in its place when the right answer comes.

use crate::runtime::Runtime;
use candid::Principal;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Runs a future and tells whether it was ever suspended, that is, whether this is still its first message.
pub(super) async fn watch<R: Runtime, F: Future>(runtime: R, future: F) -> (F::Output, bool) {
    let mut future = pin!(future);
    let mut suspension = Suspension::new(runtime);
    poll_fn(move |context| {
        suspension.end();
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready((output, suspension.has_been)),
            Poll::Pending => {
                suspension.begin();
                Poll::Pending
            }
        }
    })
    .await
}

/// Whether an attempt is suspended, in which call, and whether it ever was.
struct Suspension<R: Runtime> {
    runtime: R,
    call: Option<Call>,
    has_been: bool,
}

impl<R: Runtime> Suspension<R> {
    fn new(runtime: R) -> Self {
        Self {
            runtime,
            call: None,
            has_been: false,
        }
    }

    fn begin(&mut self) {
        self.call = Some(Call::present(&self.runtime));
        self.has_been = true;
    }

    fn end(&mut self) {
        if let Some(call) = self.call.take()
            && (call.is_surely_another(&self.runtime) || call.deadline != self.runtime.deadline())
        {
            refuse(&self.runtime);
        }
    }
}

/// The attempt is done away with: ic-cdk does so in the cleanup that follows a trap.
impl<R: Runtime> Drop for Suspension<R> {
    fn drop(&mut self) {
        if (self.call.as_ref()).is_some_and(|call| call.is_surely_another(&self.runtime)) {
            refuse(&self.runtime);
        }
    }
}

/// What is known of the call that an attempt belongs to, when the attempt is suspended.
struct Call {
    caller: Principal,
    /// Until when the caller waits. A cleanup can't ask for it.
    deadline: u64,
    /// How many instructions the call had used. They only ever become more.
    instructions: u64,
}

impl Call {
    fn present(runtime: &impl Runtime) -> Self {
        Self {
            caller: runtime.caller(),
            deadline: runtime.deadline(),
            instructions: runtime.instructions_of_call(),
        }
    }

    /// Whether the present message belongs to another call. If not, it may still do.
    fn is_surely_another(&self, runtime: &impl Runtime) -> bool {
        self.caller != runtime.caller() || runtime.instructions_of_call() < self.instructions
    }
}

/// The reject goes to the client of the old call.
fn refuse(runtime: &impl Runtime) -> ! {
    runtime.trap(
        "CutOff: an upgrade cut this call off while it waited for an answer; its outcome is unknown",
    )
}
