//! Steps of durable methods.

#![cfg_attr(
    not(test),
    expect(unused, reason = "the attribute does not know durable methods yet")
)]

mod by_name;
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
mod sleep;
mod step;
mod waiting;

pub use compensation::Compensation;
pub use handle::Steps;
pub(crate) use journal::{Answer, AppendError, Journal};
pub use name::StepName;
pub use policy::{Key32, Once, Repeatable, Verified, Verify};
pub use recorded::RecordedStep;
pub(crate) use recorded::{last_step, recorded_steps};
pub(crate) use run::{Ended, run};
pub use sleep::Sleep;
pub use step::Step;

#[cfg(test)]
mod tests;
