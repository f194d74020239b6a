//! What a durable method is given.

use super::{
    compensation::{Compensation, Compensations},
    entry::{self, What},
    name::StepName,
    policy::Key32,
    progress::{Begun, Progress, Turn},
    reason,
    sleep::Sleep,
    step::Step,
};
use crate::{
    runtime::{Outgoing, Rejected},
    time::Timestamp,
};
use candid::Principal;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    future::{Future, pending},
    rc::Rc,
    time::Duration,
};

/// After how long random bytes are asked for again, where the management canister did not give them.
const RANDOM_AGAIN: Duration = Duration::from_secs(10);

/// The steps of one durable request. Clones are the same.
///
/// See the [module](crate::steps) for what a durable method is and how it is written.
#[derive(Clone)]
pub struct Steps {
    pub(super) progress: Rc<Progress>,
    pub(super) compensations: Rc<Compensations>,
}

impl Steps {
    /// A name of the method's. If it can't be recorded, the request is parked.
    pub(super) fn named(&self, name: impl Into<StepName>) -> StepName {
        let name = name.into();
        if !name.is_valid() {
            let reason = reason::length(name.as_bytes());
            self.progress.log.park(reason);
        }
        name
    }

    /// A step: `action` runs, and its result is in stable memory before the next line of the method. A later attempt gets
    /// the recorded result and does not run `action` again.
    ///
    /// The name is 1 to 255 bytes of text and belongs to one step of the request, in a loop `("debit", i)`. The result is
    /// recorded in CBOR through serde. An action that awaits nothing takes effect together with its record, or not at all. One
    /// that calls a canister can be cut off before it gets the answer; [`Step`] says what becomes of it then.
    ///
    /// `action` can't use steps itself, except for [`key`](Self::key), [`created_at`](Self::created_at) and
    /// [`caller`](Self::caller).
    pub fn run<A, F>(&self, name: impl Into<StepName>, action: A) -> Step<A, F>
    where
        A: FnOnce() -> F,
        F: Future<Output: Serialize + DeserializeOwned>,
    {
        Step::new(Rc::clone(&self.progress), self.named(name), action)
    }

    /// 32 bytes for the step's callee to know it by, such as the memo of a transfer or a key of an idempotent method: the same
    /// in all attempts of this request, and others for any other name or request. Costs one hash.
    pub fn key(&self, name: impl Into<StepName>) -> Key32 {
        self.progress.key(&name.into())
    }

    /// The time at which this was first asked for with this name, in whichever attempt: the `created_at_time` of a transfer, say,
    /// which a ledger wants to be the same in each repetition.
    pub fn created_at(&self, name: impl Into<StepName>) -> Timestamp {
        self.progress.frozen(&self.named(name))
    }

    /// The time, as it was when the code first came here.
    pub fn now(&self) -> Timestamp {
        let (progress, log) = (&self.progress, &self.progress.log);
        let now = progress.now();
        if !progress.is_in_body(|| reason::what(What::Now, &[])) {
            return now;
        }
        match progress.begin(What::Now, &StepName::NONE) {
            Begun::Recorded(start) => match progress.turn(start) {
                Turn::Ended(payload) => entry::time(payload).unwrap_or(now),
                Turn::NotYet | Turn::Unknown => now,
            },
            Begun::Live => {
                log.append(|entry| entry::put_now(entry, now));
                now
            }
            Begun::Stopped => now,
        }
    }

    /// 32 bytes that nobody could foresee, of the management canister, as they were when the code first came here.
    pub fn random(&self) -> impl Future<Output = [u8; 32]> + use<> {
        let of_action = Rc::clone(&self.progress);
        let action = move || async move {
            let answer = of_action.log.journal().call(raw_rand()).await;
            match answer.map(|reply| bytes(&reply)) {
                Ok(Some(bytes)) => return bytes,
                Ok(None) => of_action.abandon(reason::RANDOM.to_owned()),
                // It is overloaded, say.
                Err(Rejected { .. }) => {
                    of_action.abandon_until(of_action.now().plus(RANDOM_AGAIN));
                }
            }
            pending().await
        };
        Step::new(Rc::clone(&self.progress), StepName::NONE, action).repeatable()
    }

    /// Goes on after this time, with a precision of seconds, though the canister be upgraded meanwhile. While nothing else is
    /// under way, the attempt ends, and another goes on later; so a sleep of a year costs no more than one of a minute.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(Rc::clone(&self.progress), duration)
    }

    /// Whose request it is. Attempts that go on by themselves have no caller of their own.
    pub fn caller(&self) -> Principal {
        self.progress.log.journal().caller()
    }

    /// Whether the code from here on may differ from what it was before `name`: `true`, unless this request came past here
    /// before, with older code. The first answer in a request holds for all of it.
    ///
    /// ```
    /// # use idempotency_core::Steps;
    /// # async fn charge(_: u64) -> u64 { 0 }
    /// async fn order(steps: Steps, price: u64) -> u64 {
    ///     if steps.version("with-fee") {
    ///         let fee = steps.run("fee", || charge(1)).repeatable().await;
    ///         return fee + steps.run("charge", || charge(price)).repeatable().await;
    ///     }
    ///     steps.run("charge", || charge(price)).repeatable().await
    /// }
    /// ```
    pub fn version(&self, name: impl Into<StepName>) -> bool {
        self.progress.version(&self.named(name))
    }

    /// Ends the attempt and parks the request, with this reason for its operators or its resolver: nothing is undone, and the
    /// client is told that the outcome is unknown. For what the method itself can't decide, such as what becomes of a call that
    /// stays unknown. What is parked and goes on comes here again.
    pub fn park<T>(&self, reason: impl Into<String>) -> impl Future<Output = T> {
        let progress = &self.progress;
        async move {
            if progress.is_in_body(|| reason::PARK.to_owned()) {
                progress.log.park(reason);
            }
            pending().await
        }
    }

    /// Registers what undoes the step `name`. When the method returns an `Err`, all that is registered runs before the
    /// client is answered, the last first. Each is a step with the name `"undo name"`.
    ///
    /// Register it when the step has taken effect. An `Err` with a text parks the request, with this text as the reason.
    pub fn compensate<F: Future<Output = Result<(), String>> + 'static>(
        &self,
        name: impl Into<StepName>,
        action: impl FnOnce() -> F + 'static,
    ) -> Compensation<'_> {
        self.compensations.add(&self.progress, &name.into(), action)
    }
}

fn raw_rand() -> Outgoing {
    Outgoing {
        callee: Principal::management_canister(),
        method: "raw_rand".to_owned(),
        argument: b"DIDL\0\0".to_vec(),
        cycles: 0,
        timeout: None,
    }
}

fn bytes(reply: &[u8]) -> Option<[u8; 32]> {
    candid::decode_one::<Vec<u8>>(reply).ok()?.try_into().ok()
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps").finish_non_exhaustive()
    }
}
