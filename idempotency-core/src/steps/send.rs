//! A message to a server outside the IC as a step.

use super::{handle::Steps, name::StepName};
use crate::{
    outbox::{Ended, Outbox, Request, SendError, Sends as _, Status},
    time::Timestamp,
};
use ic_stable_structures::Memory;
use std::{future::pending, rc::Rc, thread::LocalKey, time::Duration};

/// The message is looked at again after so long, or when its next attempt has had this time.
const LOOKED_AT_AFTER: Duration = Duration::from_secs(3);

/// And at least so often.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Steps {
    /// Sends a message, and waits for its end: two steps, `name` and `"sent name"`. The message lies in the outbox if and only if that is
    /// recorded; no attempt sends it twice.
    ///
    /// The end is recorded with its answer, so [`max_response_bytes`](Request::max_response_bytes) must be well below the store's
    /// [`max_journal_bytes`](crate::Policy::max_journal_bytes); where it does not fit, the request is parked. Meanwhile the method sleeps, and
    /// looks after the message each few seconds at first, and each minute later.
    ///
    /// ```
    /// # use ic_stable_structures::DefaultMemoryImpl;
    /// # use idempotency_core::{Steps, outbox::{Outbox, Outcome, Request, SendError}};
    /// # type M = DefaultMemoryImpl;
    /// async fn order(steps: Steps, outbox: &'static std::thread::LocalKey<Outbox<M>>, json: String) -> Result<u16, String> {
    ///     let request = Request::post("https://shop.example/orders").body(json);
    ///     let ended = steps.send("order", outbox, request).await.map_err(|error| error.to_string())?;
    ///     match ended.outcome {
    ///         Outcome::Acknowledged(answer) => Ok(answer.status),
    ///         // Certainly not ordered.
    ///         Outcome::Dead { reason, .. } => Err(reason.to_string()),
    ///         unknown => steps.park(format!("look for the order: {unknown:?}")).await,
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`SendError`]: the outbox did not take the message. [`SendError::Forgotten`]: it took it, and has forgotten how it ended, as the method went on
    /// only after [`Policy::retention`](crate::outbox::Policy::retention).
    pub async fn send<M: Memory>(
        &self,
        name: impl Into<StepName>,
        outbox: &'static LocalKey<Outbox<M>>,
        request: Request,
    ) -> Result<Ended, SendError> {
        let name = name.into();
        let sent = name.sent();
        let id = self
            .run(name, || async move { outbox.send(request) })
            .await?;
        let progress = Rc::clone(&self.progress);
        let look = || async move {
            let pause = match outbox.status(id)? {
                Some(Status::Ended(ended)) => return Ok(ended),
                None => return Err(SendError::Forgotten),
                Some(Status::Waiting { due, .. }) => until(progress.now(), due),
                Some(Status::UnderWay { .. }) => LOOKED_AT_AFTER,
            };
            progress.abandon_until(progress.now().plus(pause));
            pending().await
        };
        self.run(sent, look).repeatable().await
    }
}

/// The time until an attempt that is due has had its time.
fn until(now: Timestamp, due: Timestamp) -> Duration {
    let left = due.as_nanos().saturating_sub(now.as_nanos());
    Duration::from_nanos(left)
        .saturating_add(LOOKED_AT_AFTER)
        .min(LONGEST_PAUSE)
}
