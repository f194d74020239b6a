//! What undoes the steps of a request that fails.

use super::{
    name::StepName,
    policy::{Key32, Once, Repeatable, Settle, Verified, Verify, WhenUnknown},
    progress::Progress,
    reason,
    step::Step,
};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt,
    future::{Future, pending},
    pin::Pin,
    rc::Rc,
};

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;
type BoxedVerify = Box<dyn FnOnce(Key32) -> Boxed<Verified<()>>>;

/// What undoes a step, and how it goes on when it is cut off.
struct Undo {
    name: StepName,
    action: Box<dyn FnOnce() -> Boxed<Result<(), String>>>,
    policy: Policy,
}

/// As the policies of a step, in one type.
enum Policy {
    Once(Once),
    Repeatable(Repeatable),
    Verify(Verify<BoxedVerify>),
}

impl WhenUnknown<()> for Policy {
    type Asked = Boxed<Verified<()>>;

    fn settle(self, key: impl FnOnce() -> Key32) -> Settle<Self::Asked> {
        match self {
            Self::Once(_) => Settle::Park,
            Self::Repeatable(_) => Settle::Repeat,
            Self::Verify(verify) => verify.settle(key),
        }
    }
}

/// What is registered so far.
#[derive(Default)]
pub(super) struct Compensations {
    undos: RefCell<Vec<Undo>>,
    names: RefCell<BTreeSet<StepName>>,
}

impl Compensations {
    /// Registers what undoes the step of this name.
    pub(super) fn add<F: Future<Output = Result<(), String>> + 'static>(
        &self,
        progress: &Progress,
        step: &StepName,
        action: impl FnOnce() -> F + 'static,
    ) -> Compensation<'_> {
        let mut undos = self.undos.borrow_mut();
        let name = step.undo();
        if progress.is_in_body(|| reason::compensate(step.as_bytes())) {
            if !name.is_valid() {
                progress.log.park(reason::length(name.as_bytes()));
            } else if !self.names.borrow_mut().insert(name.clone()) {
                progress.log.park(reason::twice(name.as_bytes()));
            }
        }
        undos.push(Undo {
            name,
            action: Box::new(|| Box::pin(action())),
            policy: Policy::Once(Once),
        });
        Compensation {
            all: self,
            index: undos.len() - 1,
        }
    }

    /// What was registered last and is not taken yet, as a step.
    pub(super) fn take_last(&self, progress: &Rc<Progress>) -> Option<impl Future<Output = ()>> {
        let Undo {
            name,
            action,
            policy,
        } = self.undos.borrow_mut().pop()?;
        let (of_action, name_of_action) = (Rc::clone(progress), name.clone());
        let action = move || async move {
            if let Err(text) = action().await {
                of_action.abandon(reason::not_undone(name_of_action.as_bytes(), &text));
                // Whether it had an effect is unknown, so it has no end.
                pending::<()>().await;
            }
        };
        Some(Step::with(Rc::clone(progress), name, action, policy))
    }

    /// What is registered may hold the method's steps, and so these compensations themselves.
    pub(super) fn forget(&self) {
        let undos = self.undos.take();
        drop(undos);
    }
}

/// What undoes a step of a durable request, registered by `steps.compensate("name", || async { … })`.
///
/// As a step: when it is cut off, its request is parked, unless it is [`repeatable`](Self::repeatable) or has a
/// [`verify`](Self::verify).
pub struct Compensation<'a> {
    all: &'a Compensations,
    index: usize,
}

impl Compensation<'_> {
    /// If it is cut off, it runs again; see [`Step::repeatable`].
    pub fn repeatable(self) {
        self.set(Policy::Repeatable(Repeatable));
    }

    /// If it is cut off, `verify` finds out whether it ran; see [`Step::verify`]. It is given the key of `"undo name"`.
    pub fn verify<W: Future<Output = Verified<()>> + 'static>(
        self,
        verify: impl FnOnce(Key32) -> W + 'static,
    ) {
        let verify: BoxedVerify = Box::new(|key| Box::pin(verify(key)));
        self.set(Policy::Verify(Verify(verify)));
    }

    fn set(self, policy: Policy) {
        if let Some(undo) = self.all.undos.borrow_mut().get_mut(self.index) {
            undo.policy = policy;
        }
    }
}

impl fmt::Debug for Compensation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compensation").finish_non_exhaustive()
    }
}
