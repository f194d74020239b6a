//! Recognises an answer that is not for the attempt that it wakes.
//!
//! ic-cdk names an outgoing call by the heap address of the future that awaits its answer. After an upgrade another future may
//! stand at that address. It would go on with a wrong answer, in the name of the old call: what it makes of that answer would be
//! recorded for its own request and sent to the old call's client.
//!
//! The IC tells a callback some properties of the call that it continues, but not which call it is. So an attempt notes these
//! properties when it is suspended. If they have changed when it is woken or dropped, the message is another call's, and the attempt
//! traps. The IC then undoes the message, so the attempt is still there when its own answer comes.

use crate::{runtime::Runtime, store::Attempt};
use candid::Principal;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Runs a future. Beside its output it tells whether the future was ever suspended: if not, this is still the call's first message.
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

/// Runs the future of an attempt at a durable request, in the call that was made for it and brought as many cycles as its number says.
/// Nobody else's answer wakes it: the message traps, and the future is as before. A cleanup can't ask for the cycles; if
/// another call's drops the future, the attempt is over, and its request goes on with the next.
pub(super) async fn watch_exactly<R: Runtime, F: Future>(
    runtime: R,
    attempt: Attempt,
    future: F,
) -> F::Output {
    let mut future = pin!(future);
    let canister = runtime.canister();
    let watched = poll_fn(|context| {
        let is_own =
            runtime.caller() == canister && runtime.cycles_available() == u128::from(attempt.0);
        if !is_own {
            refuse(&runtime);
        }
        future.as_mut().poll(context)
    });
    let (output, _) = watch(runtime.clone(), watched).await;
    output
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

/// ic-cdk drops a suspended attempt in the cleanup callback that follows a trap.
impl<R: Runtime> Drop for Suspension<R> {
    fn drop(&mut self) {
        if (self.call.as_ref()).is_some_and(|call| call.is_surely_another(&self.runtime)) {
            refuse(&self.runtime);
        }
    }
}

/// What the IC says of the call that an attempt belongs to.
struct Call {
    caller: Principal,
    /// Until when the caller waits. A cleanup can't compare it.
    deadline: u64,
    /// How many instructions the call had used. The number never falls.
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

    /// Whether the present message certainly belongs to another call. `false` does not mean that it belongs to this one.
    fn is_surely_another(&self, runtime: &impl Runtime) -> bool {
        self.caller != runtime.caller() || runtime.instructions_of_call() < self.instructions
    }
}

/// The client of the old call is told.
fn refuse(runtime: &impl Runtime) -> ! {
    runtime.trap(
        "CutOff: an upgrade cut this call off while it waited for an answer; its outcome is unknown",
    )
}
