//! Durable methods: async methods that come to their end whatever cuts them off.
//!
//! An update method that awaits a call is executed in several messages, and each of them commits by itself. A trap after the
//! first await undoes the last message and not those before; an upgrade leaves none of the method but what it did so far. A
//! payment that has been debited and not yet been transferred stays so, and to run the method again would debit it twice.
//!
//! A *durable* method is written in steps. When a step has ended, its result is in stable memory, in the request's *journal*,
//! before the next line of the method runs. When the method is cut off, it is run again from its first line, as a new
//! *attempt*: a step whose result is in the journal gives this result and does nothing. So the attempt comes to the line at
//! which the last one was cut off, with the values that the last one had, and goes on from there.
//!
//! ```
//! use candid::{Nat, Principal};
//! use idempotency_core::{SafeCall, Steps, safe_call::Outcome};
//! # #[derive(Debug)] struct Payment { from: u32, to: Principal, amount: u64 }
//! # fn debit(_: u32, _: u64) -> Result<u64, String> { Ok(0) }
//! # fn credit(_: u32, _: u64) {}
//! # fn ledger() -> Principal { Principal::anonymous() }
//!
//! async fn pay_out(steps: Steps, payment: Payment) -> Result<Nat, String> {
//!     let Payment { from, to, amount } = payment;
//!     // Awaits nothing: it takes effect together with its record, or not at all.
//!     steps.run("debit", || async { debit(from, amount) }).await?;
//!     steps.compensate("debit", move || async move {
//!         credit(from, amount);
//!         Ok(())
//!     });
//!     // Calls a ledger, which knows a repeat by its memo and its time.
//!     let transfer = steps.transfer("transfer", to.into(), amount.into());
//!     let call = SafeCall::icrc1_transfer(ledger(), &transfer);
//!     match steps.call("transfer", call).await {
//!         Outcome::Replied(block) => Ok(block),
//!         Outcome::Rejected(reason) | Outcome::NotExecuted(reason) => Err(reason.to_string()),
//!         // It may have been paid: an `Err` would undo the debit.
//!         unknown => steps.park(format!("look for the transfer: {unknown:?}")).await,
//!     }
//! }
//! ```
//!
//! If the ledger refuses, the method returns its `Err`, and what was debited is credited before the client is told.
//!
//! # What a step does when it is cut off
//!
//! A step that awaits nothing, as `"debit"` above, is never cut off. One that calls a canister may be, between its call and
//! its answer. Then nobody here knows whether the callee did it. What becomes of the step is said where it is written:
//!
//! | | the next attempt | for |
//! |---|---|---|
//! | `steps.call(…)`, a [safe call](Steps::call) | calls again, until the outcome is certain, or the callee can't tell any more | endpoints of this library, ICRC ledgers |
//! | `steps.run(…).repeatable()` | runs it again | reading; a callee that takes notice of a key or a `created_at` once |
//! | `steps.run(…).verify(\|key\| …)` | asks `verify` whether it ran: with which result, not, or it can't tell | a callee that can be asked |
//! | `steps.run(…)` | does not run it: the request is *parked* | all else |
//!
//! There is no other way, and none by default that does something twice; a safe call of a plain method is as in the last two rows.
//! A parked request stays as it is until an operator or the method's resolver settles it. It is parked with the reason as a text.
//!
//! ```
//! # use idempotency_core::{Steps, steps::{Key32, Verified}};
//! # struct Ticket(u64);
//! # async fn book(_: Key32) -> u64 { 0 }
//! # async fn find(_: Key32) -> Result<Option<u64>, String> { Ok(None) }
//! async fn reserve(steps: Steps) -> u64 {
//!     let key = steps.key("book");
//!     steps
//!         .run("book", || book(key))
//!         .verify(|key| async move {
//!             match find(key).await {
//!                 Ok(Some(seat)) => Verified::Ran(seat),
//!                 Ok(None) => Verified::DidNotRun,
//!                 Err(_) => Verified::CantTell,
//!             }
//!         })
//!         .await
//! }
//! ```
//!
//! # How to write a durable method
//!
//! Every attempt must go the same way as the one before, up to the line where that was cut off. So
//! - *What has an effect, or can differ between two runs, is a step:* changes of the canister's state, and reads of what others may
//!   change meanwhile. Code between steps only computes.
//! - *Time and chance come from the steps:* [`now`](Steps::now), [`random`](Steps::random), [`created_at`](Steps::created_at),
//!   [`caller`](Steps::caller).
//! - *What is awaited is a step or a [`sleep`](Steps::sleep).* Steps that run at once are joined, as with `futures::join!`: an
//!   attempt gives them their results in the order in which they ended first. One that is dropped before it ends, as by `select`,
//!   may have taken effect all the same, and stays unknown. A call that is awaited outside of a step is made
//!   again by each attempt, and is given up when the attempt ends to sleep.
//! - *Every step has a name of its own,* in a loop `("debit", i)`.
//! - *An action uses no steps.* It is not run again when its result is recorded, so steps within it would be missed. It may ask for
//!   [`key`](Steps::key), [`created_at`](Steps::created_at) and [`caller`](Steps::caller).
//! - *A result comes back from CBOR as it went in.* Most types with serde's `Serialize` and `Deserialize` do. An
//!   `Option<Option<T>>` does not: `Some(None)` comes back as `None`.
//!
//! ```
//! # use idempotency_core::Steps;
//! # use std::time::Duration;
//! # async fn pay(_: u32, _: [u8; 32]) -> Result<u64, String> { Ok(0) }
//! # async fn rate() -> u64 { 0 }
//! async fn salaries(steps: Steps, staff: Vec<u32>) -> Result<u64, String> {
//!     let mut sum = steps.run("rate", rate).repeatable().await;
//!     for (i, person) in staff.into_iter().enumerate() {
//!         let key = steps.key(("pay", i));
//!         sum += steps.run(("pay", i), || pay(person, key)).repeatable().await?;
//!         steps.sleep(Duration::from_secs(60)).await;
//!     }
//!     Ok(sum)
//! }
//! ```
//!
//! # When the code changes
//!
//! A request can begin with one version of the code and go on with the next. An attempt that meets another step than is
//! recorded, or none, or a result of another type, parks the request and says so: that is the point of the record, and going on
//! would be a guess. Put what is new behind [`version`](Steps::version). It is `true` for requests that come there first with
//! the new code. When no old request is left, drop the branch.
//!
//! That the method has ended while recorded steps are left is an error as well: their effects would be missing in its reply.
//!
//! # What undoes a step
//!
//! [`compensate`](Steps::compensate) registers what undoes a step that has taken effect. When the method returns an `Err`, all that
//! is registered runs, the last first, each a step with the name `"undo …"`, and then the client is told. When that is cut off, it
//! goes on as any step does. When it fails itself, the request is parked with the text that it gave.
//!
//! # What it costs
//!
//! A step appends one entry to the journal if it awaits nothing, and two if it does: two bytes and its name, or six bytes, and
//! the result in CBOR. An attempt reads the entries of those before it once. An entry whose room is missing parks the request; a step
//! whose beginning could not be recorded does not begin.
//!
//! # Where things are
//!
//! ```text
//! handle              what the method is given
//! run                 one attempt: the method, then what undoes it
//! step, sleep, call, send, compensation, policy
//! progress            the order of what is recorded; by_name: what has none
//! log, waiting        the journal and why it stopped; what is under way at once
//! entry, name, reason, journal, recorded
//! ```

mod by_name;
mod call;
mod compensation;
mod entry;
mod handle;
mod journal;
mod log;
mod name;
mod policy;
mod progress;
mod reason;
mod recorded;
mod run;
#[cfg(feature = "outbox")]
mod send;
mod sleep;
mod step;
mod waiting;

pub use call::Call;
pub use compensation::Compensation;
pub use handle::Steps;
pub(crate) use journal::{AppendError, Journal};
pub use name::StepName;
pub use policy::{Key32, Once, Repeatable, Verified, Verify};
pub use recorded::RecordedStep;
pub(crate) use recorded::{last_step, recorded_steps};
pub(crate) use run::{Ended, run};
pub use sleep::Sleep;
pub use step::Step;

#[cfg(test)]
pub(crate) mod tests;
