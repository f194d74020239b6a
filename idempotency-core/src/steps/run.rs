//! One attempt at a durable method.

use super::{compensation::Compensations, handle::Steps, journal::Journal, progress::Progress};
use crate::time::Timestamp;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended<R> {
    /// The method has returned; if it failed, what it did is undone.
    Finished(R),
    /// Another attempt is to go on at this time, or at once if it is past.
    Asleep { until: Timestamp },
    /// The request can't go on until somebody sees to it.
    Parked { reason: String },
}

/// Runs a durable method on top of what its earlier attempts have recorded. `is_error` says whether a result is to be undone.
///
/// The caller polls it once in each message of the attempt. It calls no waker itself but those that it was polled with, and
/// when it is dropped, the attempt is cut off.
pub(crate) async fn run<R, F: Future<Output = R>>(
    journal: Rc<dyn Journal>,
    entries: Vec<Vec<u8>>,
    is_error: impl Fn(&R) -> bool,
    body: impl FnOnce(Steps) -> F,
) -> Ended<R> {
    let progress = Rc::new(Progress::new(journal, entries));
    let compensations = Forget(Rc::default());
    let steps = Steps {
        progress: Rc::clone(&progress),
        compensations: Rc::clone(&compensations.0),
    };
    attempt(&progress, &compensations.0, is_error, || body(steps))
        .await
        .map_or_else(|ended| ended, Ended::Finished)
}

/// Compensations can hold the steps that hold them.
struct Forget(Rc<Compensations>);

impl Drop for Forget {
    fn drop(&mut self) {
        self.0.forget();
    }
}

async fn attempt<R, F: Future<Output = R>>(
    progress: &Rc<Progress>,
    compensations: &Compensations,
    is_error: impl Fn(&R) -> bool,
    body: impl FnOnce() -> F,
) -> Result<R, Ended<R>> {
    let result = go_on(progress, progress.in_body(body)).await?;
    if is_error(&result) {
        while let Some(undo) = compensations.take_last(progress) {
            go_on(progress, undo).await?;
        }
    }
    progress.check_end();
    unless_parked(progress, result)
}

/// Polls a future of the method's until it ends, or the attempt does.
async fn go_on<T, R>(progress: &Progress, future: impl Future<Output = T>) -> Result<T, Ended<R>> {
    let mut future = pin!(future);
    poll_fn(|context| poll(progress, future.as_mut(), context)).await
}

fn poll<T, R>(
    progress: &Progress,
    mut future: Pin<&mut impl Future<Output = T>>,
    context: &mut Context<'_>,
) -> Poll<Result<T, Ended<R>>> {
    let under_way = &progress.under_way;
    under_way.is_polled_with(context.waker());
    loop {
        under_way.wake_due(progress.now());
        if let Poll::Ready(result) = progress.in_body(|| future.as_mut().poll(context)) {
            return Poll::Ready(unless_parked(progress, result));
        }
        // What is polled first may have waited for what is polled last.
        if !under_way.take_has_woken() {
            break;
        }
    }
    progress.check_order();
    if under_way.is_in_flight() {
        return Poll::Pending;
    }
    match (progress.log.take_reason(), progress.asleep_until()) {
        (Some(reason), _) => Poll::Ready(Err(Ended::Parked { reason })),
        (None, Some(until)) => Poll::Ready(Err(Ended::Asleep { until })),
        (None, None) => Poll::Pending,
    }
}

fn unless_parked<T, R>(progress: &Progress, result: T) -> Result<T, Ended<R>> {
    match progress.log.take_reason() {
        Some(reason) => Err(Ended::Parked { reason }),
        None => Ok(result),
    }
}
