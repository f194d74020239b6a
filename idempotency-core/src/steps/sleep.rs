//! Waiting for a time.

use super::{
    entry::{self, Entry, What},
    name::StepName,
    progress::{Begun, Progress, Turn},
    reason,
    waiting::Waits,
};
use crate::time::Timestamp;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

/// A pause of a durable request: `steps.sleep(duration)`. It begins when it is first awaited.
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep {
    progress: Rc<Progress>,
    stage: Stage,
}

enum Stage {
    New(Duration),
    /// It began with entry `start`, and ends not before `until`.
    Begun {
        start: u32,
        until: Timestamp,
        _waits: Waits,
    },
    Over,
}

impl Sleep {
    pub(super) fn new(progress: Rc<Progress>, duration: Duration) -> Self {
        Self {
            progress,
            stage: Stage::New(duration),
        }
    }

    fn begin(&self, duration: Duration) -> Option<(u32, Timestamp)> {
        let log = &self.progress.log;
        match self.progress.begin(What::Sleep, &StepName::NONE) {
            Begun::Stopped => None,
            Begun::Live => {
                let until = self.progress.now().plus(duration);
                let start = log.append(|entry| entry::put_sleep(entry, until))?;
                Some((start, until))
            }
            Begun::Recorded(start) => match log.read(start)? {
                Entry::Start { payload, .. } => Some((start, entry::time(payload)?)),
                _ => None,
            },
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !(this.progress).is_in_body(|| reason::what(What::Sleep, &[])) {
            this.stage = Stage::Over;
        }
        let (start, until) = match this.stage {
            Stage::New(duration) => match this.begin(duration) {
                Some(begun) => begun,
                None => {
                    this.stage = Stage::Over;
                    return Poll::Pending;
                }
            },
            Stage::Begun { start, until, .. } => (start, until),
            Stage::Over => return Poll::Pending,
        };
        let is_due = this.progress.now() >= until;
        let wakes_at = match this.progress.turn(start) {
            Turn::Ended(_) => {
                this.stage = Stage::Over;
                return Poll::Ready(());
            }
            Turn::Unknown if is_due => {
                // That it is over is recorded, too: what was under way beside it has seen it end before or after.
                this.stage = Stage::Over;
                let ended = (this.progress.log).append(|entry| entry::put_ended(entry, start));
                return ended.map_or(Poll::Pending, |_| Poll::Ready(()));
            }
            Turn::Unknown => Some(until),
            Turn::NotYet => None,
        };
        // The old one goes before the new one comes: they are known by the same entry.
        this.stage = Stage::Over;
        this.stage = Stage::Begun {
            start,
            until,
            _waits: (this.progress.under_way).wait(start, wakes_at, context.waker()),
        };
        Poll::Pending
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").finish_non_exhaustive()
    }
}
