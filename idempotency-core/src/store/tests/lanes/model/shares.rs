//! What scopes are charged for.

use super::{
    super::{
        caller_of, charges,
        driver::Driver,
        ops::{CALLERS, MAX_REPLY_BYTES},
    },
    Model, Outcome, usage,
};
use crate::time::Timestamp;
use proptest::prelude::*;

impl Model {
    /// What is counted of a caller and remembered.
    pub(super) fn counted(&self, caller: u8) -> impl Iterator<Item = &Outcome> {
        let mine = (self.outcomes.iter()).filter(move |((lane, _), _)| caller_of(*lane) == caller);
        mine.map(|(_, outcome)| outcome)
            .filter(|outcome| outcome.counted_until.is_some())
    }

    /// What a scope holds, requests and bytes of replies.
    pub(super) fn held(&self, caller: u8) -> (u64, u64) {
        let held = (self.counted(caller)).filter(|outcome| outcome.held_until >= self.now);
        held.fold((0, 0), |(entries, bytes), outcome| {
            (entries + 1, bytes + outcome.bytes())
        })
    }

    /// What a scope is charged for, with what is running: at least, and at most.
    pub(super) fn taken(&self, caller: u8) -> [(u64, u64); 2] {
        let charges = self.charges.get(&caller);
        let bounds = charges.map_or([(0, 0); 2], |charges| charges.at(self.now));
        let running = (self.counted(caller))
            .filter(|outcome| outcome.is_running() && outcome.held_until >= self.now);
        let reserved = running.count() as u64 * charges::counted(MAX_REPLY_BYTES.into());
        bounds.map(|(entries, bytes)| (entries, bytes + reserved))
    }

    /// Each scope is charged for what it was counted with, and for no less than is held of it.
    pub(super) fn check_quotas(&self, driver: &Driver) -> Result<(), TestCaseError> {
        for caller in 0..CALLERS {
            let now = driver.now();
            let taken = usage(driver, caller, now).counter.taken(now.as_nanos());
            let (held, [least, most]) = (self.held(caller), self.taken(caller));
            prop_assert!(
                held.0 <= taken.0 && held.1 <= taken.1,
                "{caller} holds {held:?} and is charged for {taken:?}"
            );
            prop_assert!(
                (least.0..=most.0).contains(&taken.0) && (least.1..=most.1).contains(&taken.1),
                "{caller} is charged for {taken:?}, not {least:?} to {most:?}"
            );
        }
        Ok(())
    }

    /// A scope is refused only while it is charged for too much, and told the first time at which it is not any more; or to
    /// try again, where what is running is in the way.
    pub(super) fn check_exceeded(
        &self,
        driver: &Driver,
        caller: u8,
        retry_after: Timestamp,
    ) -> Result<(), TestCaseError> {
        let policy = &self.config.policy;
        let quota = policy.quota.expect("there is a quota");
        let [_, most] = self.taken(caller);
        prop_assert!(
            most.0 >= quota.entries || most.1 + u64::from(MAX_REPLY_BYTES) > quota.reply_bytes,
            "only {most:?} is taken of {quota:?}"
        );
        let admitted = |at: Timestamp| {
            usage(driver, caller, at)
                .counter
                .admit(&quota, policy)
                .is_ok()
        };
        let before = Timestamp::from_nanos(retry_after.as_nanos() - 1);
        let nothing_runs = !self.counted(caller).any(Outcome::is_running);
        let is_soon = before == driver.now() && !nothing_runs;
        prop_assert!(retry_after > driver.now() && !admitted(before));
        prop_assert!(admitted(retry_after) || is_soon);
        Ok(())
    }
}
