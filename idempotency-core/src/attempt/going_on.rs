//! An attempt at a durable request: driven until it ends, and executed on top of its journal.

use super::{
    endpoint::Endpoint,
    guard::Guard,
    resolution::{OnUnknown, Resolution, Unknown},
    watch::{watch, watch_exactly},
};
use crate::{
    access::StoreAccess,
    identity::Identity,
    recovery::{self, Message},
    runtime::{Outgoing, Rejected, Runtime},
    steps::{self, AppendError, Ended, Journal, Steps},
    store::{Attempt, Damaged, NotRecorded, Reply},
    time::Timestamp,
};
use candid::Principal;
use std::{future::Future, pin::Pin, rc::Rc};

/// Has an attempt executed, in a call of its own, and waits until it has ended. If that call fails, so did the attempt.
pub(super) async fn drive(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &str,
    message: Message,
) -> Result<(), Damaged> {
    let attempt = message.attempt();
    let call = Outgoing {
        cycles: attempt.0.into(),
        ..recovery::call(runtime.canister(), endpoint, message)
    };
    let mut driver = Driver {
        runtime,
        store,
        attempt,
        has_heard: false,
    };
    let (answer, _) = watch(runtime.clone(), runtime.call(call)).await;
    driver.has_heard = true;
    let now = runtime.time();
    // Who has ended has left its request. If this is another call's answer, the attempt is under way and will do so; to take it for
    // over would do no harm, as it could record nothing more.
    let is_under_way = answer.is_ok() && store.with(|store| store.has_started(attempt));
    let is_over = match is_under_way {
        true => Ok(()),
        false => store.with(|store| store.cut_off(attempt, now)),
    };
    recovery::schedule(runtime, store, now);
    is_over
}

/// Who waits for the end of an attempt. If the message in which the end is heard of traps, nobody else will hear of it: the cleanup
/// has the request go on.
struct Driver<'a, R: Runtime, S: StoreAccess> {
    runtime: &'a R,
    store: &'a S,
    attempt: Attempt,
    has_heard: bool,
}

impl<R: Runtime, S: StoreAccess> Drop for Driver<'_, R, S> {
    fn drop(&mut self) {
        if !self.has_heard {
            let now = self.runtime.time();
            // There is nobody to tell of a damaged store here.
            let _ = self.store.with(|store| store.cut_off(self.attempt, now));
            recovery::schedule(self.runtime, self.store, now);
        }
    }
}

/// Executes an attempt, if it was not taken over meanwhile. `asks_first`: whether its request was parked, and `on_unknown` is asked
/// before anything else. What is kept is the first reply, also with `on_replay`: the first caller is answered from the record.
pub(super) async fn attempt<A, R, F: Future<Output = R>, O: OnUnknown<A, R>>(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    endpoint: &Endpoint<A, R>,
    (number, asks_first): (Attempt, bool),
    run: impl FnOnce(Steps, A) -> F,
    on_unknown: O,
) -> Result<(), Damaged> {
    let Some(resumed) = store.with(|store| store.start(number))? else {
        return Ok(());
    };
    let (identity, since) = (resumed.ticket.head.identity, resumed.ticket.head.since);
    let guard = Guard::of(runtime.clone(), store.clone(), resumed.ticket, number);
    let Some((caller, argument)) = resumed.kept else {
        return Err(Damaged);
    };
    let decoded = || {
        (endpoint.decode)(&argument)
            .map_err(|error| format!("the argument does not decode any more: {error:#}"))
    };
    let journal = Attempted {
        runtime: runtime.clone(),
        store: store.clone(),
        attempt: number,
        identity,
        caller,
    };
    let reason = match asks_first {
        true => String::from_utf8_lossy(resumed.note.as_deref().unwrap_or_default()).into_owned(),
        false => match decoded() {
            Err(reason) => reason,
            Ok(args) => {
                let is_error = endpoint.is_error;
                let body = |steps| run(steps, args);
                let run = steps::run(Rc::new(journal), resumed.steps, is_error, body);
                match watch_exactly(runtime.clone(), number, run).await {
                    Ended::Finished(reply) => match endpoint.encoded(reply) {
                        Ok(reply) => return guard.complete(Reply::first(&reply)),
                        Err(reason) => reason,
                    },
                    Ended::Asleep { until } => return guard.sleep(until),
                    Ended::Parked { reason } => reason,
                }
            }
        },
    };
    // What began anew because `on_unknown` said so, and can't go on again, would begin anew for ever.
    if !O::ASKS || (resumed.note.is_some() && !asks_first) {
        return guard.park(&reason);
    }
    let args = match decoded() {
        Ok(args) => args,
        Err(reason) => return guard.park(&reason),
    };
    let resumed = store.with(|store| store.resumed(number))?;
    let steps = resumed.map_or_else(Vec::new, |resumed| resumed.steps);
    let unknown = Unknown {
        since,
        steps: steps::recorded_steps(&steps),
        reason: Some(reason.clone()),
    };
    match watch_exactly(runtime.clone(), number, on_unknown.ask(args, unknown)).await {
        Resolution::Done(reply) => match endpoint.encoded(reply) {
            Ok(reply) => guard.complete(Reply::first(&reply)),
            Err(reason) => guard.park(&reason),
        },
        Resolution::NotExecuted => guard.restart(),
        Resolution::StillUnknown => guard.park(&reason),
    }
}

/// An attempt as its steps see it.
struct Attempted<R: Runtime, S: StoreAccess> {
    runtime: R,
    store: S,
    attempt: Attempt,
    identity: Identity,
    caller: Principal,
}

impl<R: Runtime, S: StoreAccess> Journal for Attempted<R, S> {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn caller(&self) -> Principal {
        self.caller
    }

    fn canister(&self) -> Principal {
        self.runtime.canister()
    }

    fn now(&self) -> Timestamp {
        self.runtime.time()
    }

    fn has_room(&self, lengths: &[usize]) -> bool {
        (self.store).with(|store| store.has_room_for_steps(self.attempt, lengths))
    }

    fn append(&self, entry: &[u8]) -> Result<(), AppendError> {
        self.store.with(|store| {
            let appended = store.append_step(self.attempt, entry);
            appended.map_err(|error| match error {
                NotRecorded::Full => AppendError::Full {
                    max_journal_bytes: store.policy().max_journal_bytes,
                },
                NotRecorded::Damaged => AppendError::Damaged,
            })
        })
    }

    fn call(&self, call: Outgoing) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Rejected>>>> {
        Box::pin(self.runtime.call(call))
    }
}
