//! What whoever leads does: looks the request up, has it executed, records the answer, and tells it to all who wait.

use crate::{
    answer::Answer,
    backend::{Attempt, Backend, BackendError, Begun, Mode, Settlement},
    flights::{Landed, Leader, Phase},
    problem::Problem,
    settings::{OnUnknown, RequestKey, Resolution, Settings, Verdict},
};
use bytes::Bytes;
use http::Request;
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Executes a request; `None` if nobody knows what came of it.
pub(crate) type Handler = Box<dyn FnOnce(Request<Bytes>) -> Handled + Send>;
pub(crate) type Handled = Pin<Box<dyn Future<Output = Option<(Verdict, Answer)>> + Send>>;

/// How often the records are looked at while another process executes a request.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The pauses between two tries to record an outcome.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An attempt that is abandoned if this is dropped before it is settled.
struct Unsettled<B: Backend> {
    settings: Arc<Settings>,
    backend: Arc<B>,
    attempt: Attempt,
    settled: bool,
}

impl<B: Backend> Unsettled<B> {
    async fn settle(&mut self, settlement: Settlement) -> Result<Option<Answer>, BackendError> {
        let now = (self.settings.clock)();
        let recorded = self.backend.settle(&self.attempt, settlement, now).await?;
        self.settled = true;
        Ok(recorded)
    }
}

impl<B: Backend> Drop for Unsettled<B> {
    fn drop(&mut self) {
        if !self.settled {
            let now = (self.settings.clock)();
            self.backend.abandon(&self.attempt, now);
        }
    }
}

/// A request on its way.
pub(crate) struct Run<B> {
    pub(crate) settings: Arc<Settings>,
    pub(crate) backend: Arc<B>,
    pub(crate) leader: Leader,
    pub(crate) key: String,
}

impl<B: Backend> Run<B> {
    /// Goes on to the end, whether anybody waits for it or not.
    pub(crate) async fn run(self, request: Request<Bytes>, handler: Handler) {
        match self.begin().await {
            Err(landed) => self.leader.land(landed),
            Ok(attempt) => {
                let attempt = Unsettled {
                    settings: Arc::clone(&self.settings),
                    backend: Arc::clone(&self.backend),
                    attempt,
                    settled: false,
                };
                let (settlement, answer) = self.execute(&attempt.attempt, request, handler).await;
                self.settle(attempt, settlement, answer).await;
            }
        }
    }

    /// An attempt, once enough have sent the request; or why there is none.
    async fn begin(&self) -> Result<Attempt, Landed> {
        if let Some(quorum) = &self.settings.quorum {
            // Those who come late get the answer, however few they are.
            match self.look(Mode::Look).await? {
                Begun::Absent => {}
                Begun::Unknown if self.mode() == Mode::Repeat => {}
                begun => return Err(self.landed(begun)),
            }
            // What counts is what is known when the time is over.
            let _ = timeout(quorum.within, self.leader.decided()).await;
            match self.leader.phase() {
                Phase::Running => {}
                // Whatever became of the other, this one was not asked for by enough.
                Phase::Lost => match self.look(Mode::Look).await? {
                    Begun::Absent => return Err(self.problem(Problem::TooFewCopies)),
                    begun => return Err(self.landed(begun)),
                },
                Phase::Gathering => return Err(self.problem(Problem::TooFewCopies)),
            }
        }
        let since = Instant::now();
        loop {
            match self.look(self.mode()).await? {
                Begun::Acquired(attempt) => {
                    self.leader.won();
                    return Ok(attempt);
                }
                // In another process, or with another body.
                Begun::InFlight if since.elapsed() < self.settings.wait => sleep(LOOK_AGAIN).await,
                begun => return Err(self.landed(begun)),
            }
        }
    }

    fn mode(&self) -> Mode {
        match self.settings.on_unknown {
            OnUnknown::Refuse => Mode::New,
            OnUnknown::Ask(_) | OnUnknown::Repeat => Mode::Repeat,
        }
    }

    async fn look(&self, mode: Mode) -> Result<Begun, Landed> {
        let now = (self.settings.clock)();
        let begun = self.backend.begin(self.leader.id(), mode, now).await;
        begun.map_err(|_| self.problem(Problem::Unavailable))
    }

    /// What is answered if there is no attempt.
    fn landed(&self, begun: Begun) -> Landed {
        self.problem(match begun {
            Begun::Done(answer) => {
                return Landed {
                    answer,
                    replayed: true,
                };
            }
            Begun::KeyReused => Problem::KeyReused,
            Begun::InFlight => Problem::InProgress,
            Begun::Unknown => Problem::OutcomeUnknown,
            Begun::Full { retry_after } => Problem::Full(retry_after),
            Begun::Absent | Begun::Acquired(_) => Problem::Unavailable,
        })
    }

    fn problem(&self, problem: Problem) -> Landed {
        Landed {
            answer: self.settings.problem(problem),
            replayed: false,
        }
    }

    /// Has the request executed, in a task of its own, so that a panic ends only that.
    async fn execute(
        &self,
        attempt: &Attempt,
        mut request: Request<Bytes>,
        handler: Handler,
    ) -> (Settlement, Answer) {
        let unknown = || {
            (
                Settlement::Unknown,
                self.settings.problem(Problem::OutcomeUnknown),
            )
        };
        let key = RequestKey {
            key: self.key.clone(),
            identity: attempt.id.identity,
            attempt: attempt.number,
        };
        if attempt.number > 1
            && let OnUnknown::Ask(resolver) = &self.settings.on_unknown
        {
            let (resolver, request, key) = (Arc::clone(resolver), request.clone(), key.clone());
            match tokio::spawn(async move { resolver(request, key).await }).await {
                Ok(Resolution::Executed(response)) => {
                    let answer = Answer::new(response);
                    return (Settlement::Done(answer.clone()), answer);
                }
                Ok(Resolution::NotExecuted) => {}
                Ok(Resolution::StillUnknown) | Err(_) => return unknown(),
            }
        }
        let now = (self.settings.clock)();
        let extensions = request.extensions_mut();
        extensions.insert(key);
        self.backend.prepare(attempt, now, extensions);
        match tokio::spawn(async move { handler(request).await }).await {
            Ok(Some((Verdict::Executed, answer))) => (Settlement::Done(answer.clone()), answer),
            Ok(Some((Verdict::NotExecuted, answer))) => (Settlement::NotExecuted, answer),
            Ok(Some((Verdict::Unknown, answer))) => (Settlement::Unknown, answer),
            Ok(None) | Err(_) => unknown(),
        }
    }

    /// Records the outcome, then tells it. If it can't be recorded now, it is told all the same, as it is true, and recorded as
    /// soon as it can be; until then those who come get it from here.
    async fn settle(self, mut attempt: Unsettled<B>, settlement: Settlement, answer: Answer) {
        let told = |answer| Landed {
            answer,
            replayed: false,
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let settled = attempt.settle(settlement.clone()).await;
            if let Ok(recorded) = settled {
                // What was recorded with the effect is the answer, whatever the handler has said since.
                return self.leader.land(told(recorded.unwrap_or(answer)));
            }
            self.leader.tell(told(answer.clone()));
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
