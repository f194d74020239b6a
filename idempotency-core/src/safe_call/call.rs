//! How a safe call is described and made.

use super::{
    callee::{Callee, Endpoint, Plain, Repeatable},
    drive::{Plan, drive},
    ledger::Ledger,
    limit::Repeats,
    outcome::Outcome,
    search::{Payer, Wanted},
    transfer::{Transfer, TransferFrom},
    transport::{self, Transport},
};
use crate::{
    error::IdempotencyError,
    runtime::{Canister, Outgoing},
    time::Timestamp,
};
use candid::{CandidType, Principal, utils::ArgumentEncoder};
use serde::de::DeserializeOwned;
use std::{marker::PhantomData, time::Duration};

/// A call to another canister that ends in exactly one [`Outcome`]: executed with this reply, certainly not executed, or still
/// unknown.
///
/// It is sent again, with the same bytes, while it was certainly not executed, and while its outcome is unknown and the callee
/// recognises repeats. There are four kinds of callee:
///
/// | | a repeat is | made by |
/// |---|---|---|
/// | [`Endpoint`] | recognised by its key or number | [`endpoint`](SafeCall::endpoint) |
/// | [`Ledger`] | recognised by `created_at_time` and all other fields | [`icrc1_transfer`](SafeCall::icrc1_transfer), [`icrc2_transfer_from`](SafeCall::icrc2_transfer_from) |
/// | [`Repeatable`] | of no more effect than the first | [`repeatable`](SafeCall::repeatable) |
/// | [`Plain`] | executed again, so there is none in doubt | [`plain`](SafeCall::plain) |
///
/// ```
/// use candid::{Nat, Principal};
/// use idempotency_core::{SafeCall, Timestamp, safe_call::{Outcome, Transfer}};
///
/// /// Pays out. `id` and `created_at` are stored before the first attempt.
/// async fn pay_out(ledger: Principal, to: Principal, amount: Nat, id: u64, created_at: Timestamp) -> Result<Nat, String> {
///     let transfer = Transfer {
///         from_subaccount: None,
///         to: to.into(),
///         amount,
///         fee: None,
///         memo: id.to_be_bytes().to_vec(),
///         created_at,
///     };
///     match SafeCall::icrc1_transfer(ledger, &transfer).send().await {
///         Outcome::Replied(block) => Ok(block),
///         Outcome::Rejected(reason) | Outcome::NotExecuted(reason) => Err(format!("not paid: {reason}")),
///         // Undo nothing: it may have been paid. Ask again later, with the same fields.
///         unknown => Err(format!("open: {unknown:?}")),
///     }
/// }
/// ```
///
/// # Limits
/// Inside a durable method a safe call is exact: it is a step, made by [`Steps::call`](crate::Steps::call). Elsewhere an upgrade of *this* canister ends it without an outcome, and its awaits
/// are guarded only by what the IC tells a callback (see [`attempt`](crate::attempt#answers-that-arrive-after-an-upgrade)).
///
/// A callee that is reinstalled forgets what it has executed, and so does one whose key is optional and left out.
///
/// # Cost
/// That of each attempt, and of calls of `raw_rand` to the management canister during a pause: one in a second, and one more.
/// A search of a ledger's blocks costs one call for 100 blocks, and one for each archive that holds some of them.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct SafeCall<C> {
    plan: Plan,
    callee: C,
}

impl<T: CandidType + DeserializeOwned> SafeCall<Endpoint<T>> {
    /// Calls a method that has `#[idempotent]`. The request key, or the number, is in `args`; derive it from what the call is for,
    /// and never make up a new one for a repeat.
    ///
    /// Refusals with which the method traps are understood. If it answers with them, say where they are:
    /// [`refusal`](Self::refusal).
    ///
    /// # Panics
    /// If candid can't encode `args`, which it can for each type with a derived `CandidType`.
    pub fn endpoint(callee: Principal, method: &str, args: impl ArgumentEncoder) -> Self {
        let endpoint = Endpoint {
            window: Endpoint::<T>::SHORTEST_WINDOW,
            created_at: None,
            refusal: None,
        };
        Self::new(callee, method, encoded(candid::encode_args(args)), endpoint)
    }

    /// Where a reply has the library's refusal, if it is one. Without this a refusal in a reply is a reply like any other, and ends
    /// the call as `Replied`.
    ///
    /// ```
    /// use candid::{CandidType, Deserialize, Principal};
    /// use idempotency_core::{IdempotencyError, SafeCall, safe_call::Outcome};
    ///
    /// #[derive(CandidType, Deserialize)]
    /// enum PayError {
    ///     NoFunds,
    ///     Idempotency(IdempotencyError),
    /// }
    ///
    /// async fn pay(shop: Principal, order: u64) -> Outcome<Result<u64, PayError>> {
    ///     SafeCall::endpoint(shop, "pay", (order,))
    ///         .refusal(|reply| match reply {
    ///             Err(PayError::Idempotency(error)) => Some(error),
    ///             _ => None,
    ///         })
    ///         .send()
    ///         .await
    /// }
    /// ```
    pub fn refusal(mut self, refusal: fn(&T) -> Option<&IdempotencyError>) -> Self {
        self.callee.refusal = Some(refusal);
        self
    }

    /// For how long the callee's store remembers a request: the `window` of its policy. Default: 5 minutes, the shortest that a
    /// policy should have.
    ///
    /// A repeat is sent only where it is executed within the window, counted from the first attempt: so much earlier as an attempt
    /// may take, and a minute for the difference of two clocks. Never give more than the callee has.
    ///
    /// An unbounded-wait call has no deadline. This takes for granted that it is executed within 5 minutes, if at all, so with a
    /// window of 6 minutes or less none in doubt is repeated.
    pub fn window(mut self, window: Duration) -> Self {
        self.callee.window = window;
        self
    }

    /// The `created_at` that `args` carry, if the endpoint has that option, or the time in a UUIDv7 or ULID key. The window counts
    /// from there, and the callee refuses a repeat that comes later instead of executing it.
    pub fn created_at(mut self, created_at: Timestamp) -> Self {
        self.callee.created_at = Some(created_at);
        self
    }
}

impl SafeCall<Ledger> {
    /// Calls `icrc1_transfer`. `Duplicate` counts as success.
    ///
    /// If the ledger refuses a repeat without telling whether the transfer was executed, its last blocks are searched for it
    /// through ICRC-3. A ledger without ICRC-3 leaves the outcome unknown.
    pub fn icrc1_transfer(ledger: Principal, transfer: &Transfer) -> Self {
        let wanted = transfer.into();
        Self::transfer(ledger, "icrc1_transfer", transfer.encode(), wanted)
    }

    /// Calls `icrc2_transfer_from`. As [`icrc1_transfer`](Self::icrc1_transfer).
    pub fn icrc2_transfer_from(ledger: Principal, transfer: &TransferFrom) -> Self {
        let wanted = Wanted {
            payer: Payer::Other {
                from: transfer.from,
                spender: transfer.spender_subaccount,
            },
            to: transfer.to,
            amount: transfer.amount.clone(),
            fee: transfer.fee.clone(),
            memo: transfer.memo.clone(),
            created_at: transfer.created_at,
        };
        Self::transfer(ledger, "icrc2_transfer_from", transfer.encode(), wanted)
    }

    fn transfer(
        ledger: Principal,
        method: &str,
        args: Result<Vec<u8>, candid::Error>,
        wanted: Wanted,
    ) -> Self {
        let callee = Ledger {
            wanted,
            window: Ledger::WINDOW,
            most_blocks: Ledger::MOST_BLOCKS,
        };
        Self::new(ledger, method, encoded(args), callee)
    }

    /// For how long the ledger recognises a transfer, counted from `created_at`. Default: 24 hours.
    pub fn window(mut self, window: Duration) -> Self {
        self.callee.window = window;
        self
    }

    /// How many of the ledger's last blocks are searched at most. With 0 none is. Default: 1,000.
    pub fn search_at_most(mut self, blocks: u64) -> Self {
        self.callee.most_blocks = blocks;
        self
    }
}

impl<T: CandidType + DeserializeOwned> SafeCall<Plain<T>> {
    /// Calls any other method. It is sent again only while it was certainly not executed. After a reject that does not prove that,
    /// its outcome is unknown, and stays so.
    ///
    /// # Panics
    /// If candid can't encode `args`, which it can for each type with a derived `CandidType`.
    pub fn plain(callee: Principal, method: &str, args: impl ArgumentEncoder) -> Self {
        let args = encoded(candid::encode_args(args));
        Self::new(callee, method, args, Plain(PhantomData))
    }
}

impl<T: CandidType + DeserializeOwned> SafeCall<Repeatable<T>> {
    /// Calls a method that is idempotent by nature: it may be called again with the same arguments, whenever that is, and does no more than
    /// it did. So it is sent again also where an earlier attempt is in doubt. Such are a query, "take this from there on", and "this is to
    /// be so"; "add one" is not.
    ///
    /// # Panics
    /// If candid can't encode `args`, which it can for each type with a derived `CandidType`.
    pub fn repeatable(callee: Principal, method: &str, args: impl ArgumentEncoder) -> Self {
        let args = encoded(candid::encode_args(args));
        Self::new(callee, method, args, Repeatable(PhantomData))
    }
}

impl<C: Callee> SafeCall<C> {
    fn new(callee: Principal, method: &str, argument: Vec<u8>, kind: C) -> Self {
        let call = Outgoing {
            callee,
            method: method.to_owned(),
            argument,
            cycles: 0,
            timeout: Some(60),
        };
        Self {
            plan: Plan {
                call,
                tries: 5,
                pause: Duration::from_secs(1),
                in_doubt_since: None,
            },
            callee: kind,
        }
    }

    /// Attaches cycles to each attempt. What the callee does not accept comes back; an idempotent endpoint accepts none from a
    /// repeat. Those of a bounded-wait call whose answer is lost are lost with it. Default: none.
    pub fn cycles(mut self, cycles: u128) -> Self {
        self.plan.call.cycles = cycles;
        self
    }

    /// How long to wait for the answer of an attempt, in seconds, at most 300. Default: 60.
    pub fn timeout(mut self, seconds: u32) -> Self {
        self.plan.call.timeout = Some(seconds);
        self
    }

    /// Waits for the answer of an attempt for as long as it takes, perhaps for ever. The canister can't be stopped meanwhile.
    pub fn unbounded(mut self) -> Self {
        self.plan.call.timeout = None;
        self
    }

    /// How many attempts are made at most. 0 is as 1. Default: 5.
    pub fn tries(mut self, tries: u32) -> Self {
        self.plan.tries = tries;
        self
    }

    /// The pause before the second attempt. Each later one is twice as long, up to a minute. Default: 1 second.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.plan.pause = pause;
        self
    }

    /// Says that this very call was made before, first at that time, and may have been executed: it ended as
    /// [`StillUnknown`](Outcome::StillUnknown), or an upgrade ended it. Without this, a reject could be taken for a proof that it
    /// was never executed.
    ///
    /// A plain call in doubt is not sent.
    pub fn in_doubt_since(mut self, first_attempt: Timestamp) -> Self {
        self.plan.in_doubt_since = Some(first_attempt);
        self
    }

    /// Makes the call. It takes as many messages as there are attempts, rounds of pauses, and searches.
    ///
    /// Before the first attempt, store what it takes to make the same call again: after an upgrade nothing else knows of it.
    pub async fn send(self) -> Outcome<C::Reply> {
        self.send_over(&transport::Plain(Canister)).await
    }

    /// Whether the callee recognises a repeat.
    pub(crate) fn recognises_repeats(&self) -> bool {
        !matches!(self.callee.repeats(), Repeats::Never)
    }

    /// Equal for the same callee, method and arguments, and for no others.
    pub(crate) fn digest(&self) -> [u8; 16] {
        let Outgoing {
            callee,
            method,
            argument,
            ..
        } = &self.plan.call;
        let mut hashed = Vec::with_capacity(38 + method.len() + argument.len());
        for part in [callee.as_slice(), method.as_bytes()] {
            hashed.extend_from_slice(&(part.len() as u64).to_le_bytes());
            hashed.extend_from_slice(part);
        }
        hashed.extend_from_slice(argument);
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(&hashed).as_bytes()[..16]);
        digest
    }

    /// The pause after so many attempts.
    pub(crate) fn pause_after(&self, made: u32, longest: Duration) -> Duration {
        self.plan.pause_after(made, longest)
    }

    /// As [`send`](Self::send), by another transport.
    pub(crate) async fn send_over<X: Transport>(&self, transport: &X) -> Outcome<C::Reply> {
        drive(&self.plan, &self.callee, transport).await
    }
}

fn encoded(args: Result<Vec<u8>, candid::Error>) -> Vec<u8> {
    args.unwrap_or_else(|error| panic!("idempotency: the arguments can't be encoded: {error}"))
}
