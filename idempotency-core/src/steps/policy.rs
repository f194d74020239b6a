//! What becomes of a step that was cut off between its call and its record.

use std::future::{Future, Ready};

/// 32 bytes that are the same whenever a step of a request is run, and differ between steps and between requests.
pub type Key32 = [u8; 32];

/// What a step did that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified<T> {
    /// It took effect, with this result. The result is recorded, and the step does not run again.
    Ran(T),
    /// It certainly took no effect, and never will: the call is not under way any more. The step runs again.
    DidNotRun,
    /// Neither is certain. The request is parked.
    CantTell,
}

/// What to do with a step whose outcome is unknown.
#[derive(Debug)]
pub enum Settle<W> {
    /// Leave it to the operators.
    Park,
    /// Run it again.
    Repeat,
    /// Ask, and wait for the answer.
    Ask(W),
}

/// What a step does when its outcome is unknown. The library implements it; methods don't.
pub trait WhenUnknown<T> {
    /// The answer to whether the step ran.
    type Asked: Future<Output = Verified<T>>;

    /// Decides. `key` is the step's.
    fn settle(self, key: impl FnOnce() -> Key32) -> Settle<Self::Asked>;
}

/// Nothing is said of a step: its request is parked when its outcome is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Once;

/// The step runs again: its callee takes notice of it once.
#[derive(Clone, Copy, Debug)]
pub struct Repeatable;

/// This function finds out whether the step ran.
#[derive(Clone, Copy, Debug)]
pub struct Verify<V>(pub(super) V);

impl<T> WhenUnknown<T> for Once {
    type Asked = Ready<Verified<T>>;

    fn settle(self, _: impl FnOnce() -> Key32) -> Settle<Self::Asked> {
        Settle::Park
    }
}

impl<T> WhenUnknown<T> for Repeatable {
    type Asked = Ready<Verified<T>>;

    fn settle(self, _: impl FnOnce() -> Key32) -> Settle<Self::Asked> {
        Settle::Repeat
    }
}

impl<T, V: FnOnce(Key32) -> W, W: Future<Output = Verified<T>>> WhenUnknown<T> for Verify<V> {
    type Asked = W;

    fn settle(self, key: impl FnOnce() -> Key32) -> Settle<W> {
        Settle::Ask((self.0)(key()))
    }
}
