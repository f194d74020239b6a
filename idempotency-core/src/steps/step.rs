//! One step: from its first poll to its recorded result.

use super::{
    entry::{self, What},
    name::StepName,
    policy::{Key32, Once, Repeatable, Settle, Verified, Verify, WhenUnknown},
    progress::{Begun, Executed, Progress, Turn},
    reason,
    waiting::{InFlight, Waits},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// A step of a durable request: `steps.run("name", || async { … })`. It does nothing until it is awaited.
///
/// Awaited as it is, it is never run again once it has begun: if it is cut off before its result is recorded, the request is
/// parked. [`repeatable`](Self::repeatable) and [`verify`](Self::verify) say how to go on instead.
#[must_use = "a step does nothing until it is awaited"]
pub struct Step<A, F: Future, P: WhenUnknown<F::Output> = Once> {
    progress: Rc<Progress>,
    name: StepName,
    stage: Stage<A, F, P, P::Asked>,
}

/// What is pinned is in a box, and the rest is never pinned.
impl<A, F: Future, P: WhenUnknown<F::Output>> Unpin for Step<A, F, P> {}

enum Stage<A, F, P, W> {
    /// Not polled yet.
    New(A, P),
    /// It began with an entry of an earlier attempt, and waits for its turn.
    Recorded(u32, A, P, Option<Waits>),
    /// Its outcome is unknown, and is being asked for.
    Asking(u32, A, Pin<Box<W>>, Option<InFlight>),
    /// Its action is under way. `None`: that it began is not recorded, as it has called nobody yet.
    Running(Option<u32>, Pin<Box<F>>, Option<InFlight>),
    /// It has ended, or never will in this attempt.
    Over,
}

impl<A, F: Future> Step<A, F> {
    pub(super) fn new(progress: Rc<Progress>, name: StepName, action: A) -> Self {
        Self::with(progress, name, action, Once)
    }

    /// If the step is cut off, it runs again. Say so where doing it twice is the same as doing it once: the action reads only,
    /// or its callee takes notice of a key or a `created_at` once, and gets [`Steps::key`](super::Steps::key) and
    /// [`Steps::created_at`](super::Steps::created_at) of this step's name.
    pub fn repeatable(self) -> Step<A, F, Repeatable> {
        self.with_policy(|Once| Repeatable)
    }

    /// If the step is cut off, `verify` finds out whether it ran. It is given the step's key, [`Steps::key`](super::Steps::key)
    /// of its name, by which the callee may know it. It must have no effects, as it may be asked any number of times.
    ///
    /// A call that is still under way may run later. Answer [`Verified::DidNotRun`] only if that can't be.
    pub fn verify<V, W>(self, verify: V) -> Step<A, F, Verify<V>>
    where
        V: FnOnce(Key32) -> W,
        W: Future<Output = Verified<F::Output>>,
    {
        self.with_policy(|Once| Verify(verify))
    }
}

impl<A, F: Future, P: WhenUnknown<F::Output>> Step<A, F, P> {
    pub(super) fn with(progress: Rc<Progress>, name: StepName, action: A, policy: P) -> Self {
        Self {
            progress,
            name,
            stage: Stage::New(action, policy),
        }
    }

    pub(super) fn with_policy<Q: WhenUnknown<F::Output>>(
        self,
        change: impl FnOnce(P) -> Q,
    ) -> Step<A, F, Q> {
        let stage = match self.stage {
            Stage::New(action, policy) => Stage::New(action, change(policy)),
            Stage::Recorded(start, action, policy, waits) => {
                Stage::Recorded(start, action, change(policy), waits)
            }
            Stage::Running(start, action, in_flight) => Stage::Running(start, action, in_flight),
            // The old policy has decided; it is too late for another.
            Stage::Asking(..) | Stage::Over => Stage::Over,
        };
        Step {
            progress: self.progress,
            name: self.name,
            stage,
        }
    }
}

impl<A, F, P> Step<A, F, P>
where
    A: FnOnce() -> F,
    F: Future<Output: Serialize + DeserializeOwned>,
    P: WhenUnknown<F::Output>,
{
    fn start(&self, start: Option<u32>, action: A) -> Stage<A, F, P, P::Asked> {
        let fresh = start.is_none().then_some(&self.name);
        let executed = self.progress.in_action(fresh, action);
        Stage::Running(start, Box::pin(executed.result), None)
    }

    /// Whether the result is the step's, for good.
    fn record(&self, start: Option<u32>, result: F::Output) -> Poll<F::Output> {
        match self.progress.log.record(start, &self.name, &result) {
            true => Poll::Ready(result),
            false => Poll::Pending,
        }
    }

    fn settle(&self, start: u32, action: A, policy: P) -> Stage<A, F, P, P::Asked> {
        let key = || self.progress.key(&self.name);
        let settled = self.progress.in_action(None, || policy.settle(key));
        match settled.result {
            Settle::Park => {
                self.progress
                    .log
                    .park(reason::unknown(self.name.as_bytes()));
                Stage::Over
            }
            Settle::Repeat => self.start(Some(start), action),
            Settle::Ask(asked) => Stage::Asking(start, action, Box::pin(asked), None),
        }
    }
}

impl<A, F, P> Future for Step<A, F, P>
where
    A: FnOnce() -> F,
    F: Future<Output: Serialize + DeserializeOwned>,
    P: WhenUnknown<F::Output>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let progress = Rc::clone(&this.progress);
        if !progress.is_in_body(|| reason::what(What::Step, this.name.as_bytes())) {
            this.stage = Stage::Over;
        }
        loop {
            // What is put back is what goes on.
            match mem::replace(&mut this.stage, Stage::Over) {
                Stage::New(action, policy) => match progress.begin(What::Step, &this.name) {
                    Begun::Live => this.stage = this.start(None, action),
                    Begun::Recorded(start) => {
                        this.stage = Stage::Recorded(start, action, policy, None);
                    }
                    Begun::Stopped => return Poll::Pending,
                },
                Stage::Recorded(start, action, policy, waits) => match progress.turn(start) {
                    Turn::NotYet => {
                        drop(waits);
                        let waits = progress.under_way.wait(start, None, context.waker());
                        this.stage = Stage::Recorded(start, action, policy, Some(waits));
                        return Poll::Pending;
                    }
                    Turn::Ended(result) => {
                        let result = progress.log.decode(&this.name, result);
                        return result.map_or(Poll::Pending, Poll::Ready);
                    }
                    Turn::Unknown => this.stage = this.settle(start, action, policy),
                },
                Stage::Asking(start, action, mut asked, in_flight) => {
                    let executed = progress.in_action(None, || asked.as_mut().poll(context));
                    match executed {
                        Executed {
                            result: Poll::Pending,
                            is_abandoned: true,
                        } => return Poll::Pending,
                        Executed {
                            result: Poll::Pending,
                            ..
                        } => {
                            let in_flight = in_flight.unwrap_or_else(|| progress.under_way.begin());
                            this.stage = Stage::Asking(start, action, asked, Some(in_flight));
                            return Poll::Pending;
                        }
                        Executed {
                            result: Poll::Ready(Verified::Ran(result)),
                            ..
                        } => return this.record(Some(start), result),
                        Executed {
                            result: Poll::Ready(Verified::DidNotRun),
                            ..
                        } => {
                            this.stage = this.start(Some(start), action);
                        }
                        Executed {
                            result: Poll::Ready(Verified::CantTell),
                            ..
                        } => {
                            let reason = reason::cannot_tell(this.name.as_bytes());
                            progress.log.park(reason);
                            return Poll::Pending;
                        }
                    }
                }
                Stage::Running(start, mut action, in_flight) => {
                    let fresh = start.is_none().then_some(&this.name);
                    let Executed {
                        result,
                        is_abandoned,
                    } = progress.in_action(fresh, || action.as_mut().poll(context));
                    if let Poll::Ready(result) = result {
                        return this.record(start, result);
                    }
                    let name = this.name.as_bytes();
                    let start = start
                        .or_else(|| progress.log.append(|entry| entry::put_began(entry, name)));
                    if !is_abandoned && start.is_some() {
                        let in_flight = in_flight.unwrap_or_else(|| progress.under_way.begin());
                        this.stage = Stage::Running(start, action, Some(in_flight));
                    }
                    return Poll::Pending;
                }
                Stage::Over => return Poll::Pending,
            }
        }
    }
}

impl<A, F: Future, P: WhenUnknown<F::Output>> fmt::Debug for Step<A, F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
