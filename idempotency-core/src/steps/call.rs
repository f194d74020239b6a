//! A safe call as a step.

use super::{
    entry::Tried,
    handle::Steps,
    name::StepName,
    policy::{Key32, Once, Settle, Verified, Verify, WhenUnknown},
    progress::Progress,
    reason,
    step::Step,
};
use crate::{
    runtime::{Outgoing, Rejected},
    safe_call::{
        Account, Callee, Outcome, Plain, SafeCall, Transfer,
        transport::{Transport, Tries},
    },
    time::Timestamp,
};
use candid::{Nat, Principal};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    cell::Cell,
    fmt,
    future::{Future, pending},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

/// While an outcome is unknown, and its callee can still tell, it is asked again at least so often.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// The least time after which another attempt goes on.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

type Action<T> = Box<dyn FnOnce() -> Boxed<Outcome<T>>>;

impl Steps {
    /// A safe call as a step. Its outcome is in stable memory before the next line of the method.
    ///
    /// It goes on by itself until its outcome is certain, or nobody can tell any more. Its pauses end the attempt, as
    /// [`sleep`](Self::sleep) does. When it is cut off, or the canister is upgraded, what was sent is known from the journal:
    /// - A callee that recognises repeats is called again, with the same key. No clean reject is then taken for a proof that the
    ///   call was never executed.
    /// - A [`Plain`] callee is not. Its request is parked, unless the call has a [`verify`](Call::verify).
    ///
    /// So `StillUnknown` never has an `until`: while the callee can tell, it is asked, after pauses of up to an hour, until the end of
    /// its window. Then it is the method that decides, as with any other outcome; nothing is parked. Undo nothing for it.
    ///
    /// The arguments must be the same in all attempts, so take keys and times from the steps. If the code makes another call of a
    /// call that may have been executed, the request is parked.
    ///
    /// ```
    /// # use candid::{Nat, Principal};
    /// # use idempotency_core::{SafeCall, Steps, safe_call::Outcome};
    /// async fn pay_out(steps: Steps, ledger: Principal, to: Principal, amount: u64) -> Result<Nat, String> {
    ///     let transfer = steps.transfer("transfer", to.into(), amount.into());
    ///     match steps.call("transfer", SafeCall::icrc1_transfer(ledger, &transfer)).await {
    ///         Outcome::Replied(block) => Ok(block),
    ///         // It was certainly not paid.
    ///         Outcome::Rejected(reason) | Outcome::NotExecuted(reason) => Err(reason.to_string()),
    ///         unknown => Err(format!("look for the transfer: {unknown:?}")),
    ///     }
    /// }
    /// ```
    ///
    /// # Cost
    /// Beside the call and the step: 31 bytes and the name in the journal for each attempt, and as much again for a pause after a
    /// clean reject.
    pub fn call<C>(&self, name: impl Into<StepName>, call: SafeCall<C>) -> Call<C>
    where
        C: Callee<Reply: Serialize + DeserializeOwned> + 'static,
    {
        let name = self.named(name);
        let transport = Rc::new(Recorded {
            progress: Rc::clone(&self.progress),
            name: name.clone(),
            digest: call.digest(),
            tries: Cell::new(None),
        });
        let policy = Resend {
            transport: Rc::clone(&transport),
            is_recognised: call.recognises_repeats(),
            otherwise: Once,
        };
        let action: Action<C::Reply> = Box::new(move || {
            Box::pin(async move {
                let outcome = call.send_over(&*transport).await;
                if let Outcome::StillUnknown {
                    until: Some(until), ..
                } = outcome
                {
                    let made = transport.tries.get().map_or(1, |tries| tries.made);
                    let pause = call.pause_after(made, LONGEST_PAUSE);
                    transport.pause_before(until, pause).await;
                }
                outcome
            })
        });
        Call(Step::with(Rc::clone(&self.progress), name, action, policy))
    }

    /// A transfer whose memo is the [`key`](Self::key) of this name, and which was made at its
    /// [`created_at`](Self::created_at), so that a ledger recognises it whichever attempt sends it. It is from the canister's default account,
    /// with the ledger's fee.
    pub fn transfer(&self, name: impl Into<StepName>, to: Account, amount: Nat) -> Transfer {
        let name = name.into();
        Transfer {
            from_subaccount: None,
            to,
            amount,
            fee: None,
            memo: self.key(&name).to_vec(),
            created_at: self.created_at(&name),
        }
    }
}

/// A safe call of a durable request: `steps.call("name", …)`. It does nothing until it is awaited.
#[must_use = "a safe call does nothing until it is awaited"]
pub struct Call<C: Callee, P: WhenUnknown<C::Reply> = Once>(CallStep<C::Reply, P>);

type CallStep<T, P> = Step<Action<T>, Boxed<Outcome<T>>, Resend<P>>;

impl<T: 'static> Call<Plain<T>>
where
    Plain<T>: Callee<Reply = T>,
{
    /// If the call is cut off before its outcome is recorded, `verify` finds out whether it was executed; see
    /// [`Step::verify`].
    pub fn verify<V, W>(self, verify: V) -> Call<Plain<T>, Verify<V>>
    where
        V: FnOnce(Key32) -> W,
        W: Future<Output = Verified<T>>,
    {
        Call(self.0.with_policy(|resend| Resend {
            transport: resend.transport,
            is_recognised: resend.is_recognised,
            otherwise: Verify(verify),
        }))
    }
}

impl<C, P> Future for Call<C, P>
where
    C: Callee<Reply: Serialize + DeserializeOwned>,
    P: WhenUnknown<C::Reply>,
{
    type Output = Outcome<C::Reply>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<C: Callee, P: WhenUnknown<C::Reply>> fmt::Debug for Call<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.0).finish()
    }
}

/// What becomes of a safe call that was cut off, or paused.
#[derive(Debug)]
pub(super) struct Resend<P> {
    transport: Rc<Recorded>,
    is_recognised: bool,
    /// For a call that may have been executed, where a repeat would not be recognised.
    otherwise: P,
}

impl<T, P: WhenUnknown<T>> WhenUnknown<Outcome<T>> for Resend<P> {
    type Asked = Asked<P::Asked>;

    fn settle(self, key: impl FnOnce() -> Key32) -> Settle<Self::Asked> {
        let Recorded {
            progress,
            name,
            digest,
            tries,
        } = &*self.transport;
        // An attempt is noted in the message that sends it. Without a note, it was not a safe call that was cut off.
        let Some(tried) = progress.tried(name) else {
            return Settle::Park;
        };
        tries.set(Some(tried.tries));
        if !tried.tries.is_in_doubt {
            return Settle::Repeat;
        }
        if tried.digest != *digest {
            progress.log.park(reason::other_call(name.as_bytes()));
            return Settle::Park;
        }
        if self.is_recognised {
            return Settle::Repeat;
        }
        match self.otherwise.settle(key) {
            Settle::Park => Settle::Park,
            Settle::Repeat => Settle::Repeat,
            Settle::Ask(asked) => Settle::Ask(Asked {
                transport: Rc::clone(&self.transport),
                asked: Box::pin(asked),
            }),
        }
    }
}

/// The answer to whether a call was executed.
#[derive(Debug)]
pub(super) struct Asked<W> {
    transport: Rc<Recorded>,
    asked: Pin<Box<W>>,
}

impl<T, W: Future<Output = Verified<T>>> Future for Asked<W> {
    type Output = Verified<Outcome<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.asked
            .as_mut()
            .poll(context)
            .map(|verified| match verified {
                Verified::Ran(reply) => Verified::Ran(Outcome::Replied(reply)),
                Verified::DidNotRun => {
                    let tries = self.transport.tries.get();
                    let is_in_doubt = false;
                    (self.transport.tries).set(tries.map(|tries| Tries {
                        is_in_doubt,
                        ..tries
                    }));
                    Verified::DidNotRun
                }
                Verified::CantTell => Verified::CantTell,
            })
    }
}

/// How the calls of a step are made: how far it has come is in the journal, and a pause ends the attempt at the method.
struct Recorded {
    progress: Rc<Progress>,
    name: StepName,
    /// Of the call.
    digest: [u8; 16],
    /// How far the call has come.
    tries: Cell<Option<Tries>>,
}

impl Recorded {
    /// Pauses, and not for so long that there is no time left until the last instant for a repeat.
    async fn pause_before(&self, until: Timestamp, pause: Duration) {
        let left = until.as_nanos().saturating_sub(self.now().as_nanos());
        let pause = pause.min(Duration::from_nanos(left / 2));
        self.pause(pause).await;
    }
}

impl Transport for Recorded {
    fn now(&self) -> Timestamp {
        self.progress.now()
    }

    fn canister(&self) -> Principal {
        self.progress.log.journal().canister()
    }

    fn call(&self, call: Outgoing) -> impl Future<Output = Result<Vec<u8>, Rejected>> {
        self.progress.log.journal().call(call)
    }

    fn resumed(&self) -> Option<Tries> {
        self.tries.get()
    }

    async fn note(&self, tries: Tries) {
        if self.tries.replace(Some(tries)) != Some(tries) {
            let tried = Tried {
                tries,
                digest: self.digest,
            };
            if !self.progress.note(&self.name, &tried) {
                pending::<()>().await;
            }
        }
    }

    async fn pause(&self, time: Duration) {
        let time = time.max(SHORTEST_PAUSE);
        self.progress.abandon_until(self.now().plus(time));
        pending().await
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("name", &self.name)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}
