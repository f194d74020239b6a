//! What must hold on each way, and at its end.

use super::{
    super::super::endpoints::Failure,
    Fault, Sends,
    way::{Call, End, Way},
};
use crate::{error::IdempotencyError, policy::Keep};

impl Way<'_> {
    /// How often a key's request was executed, and whether with the other arguments.
    fn effect(&self, key: usize) -> (u32, bool) {
        let effects = self.effects.borrow();
        let effect = effects.get(&self.start.keys[key]);
        effect.copied().unwrap_or_default()
    }

    /// How often any request was executed.
    fn all_effects(&self) -> u32 {
        self.effects.borrow().values().map(|(count, _)| count).sum()
    }

    fn is_archived(&self, key: usize) -> bool {
        self.case.is_archived && key == 0
    }

    /// Whether an archive could not be asked as often as it is tried, or has lost something.
    fn has_failed(&self) -> bool {
        let of_calls = |fault: &&Fault| matches!(fault, Fault::Refused | Fault::Lost);
        let has = |fault| self.faults.contains(&fault);
        has(Fault::Stop) || has(Fault::Reinstall) || self.faults.iter().filter(of_calls).count() > 2
    }

    /// G1, at every moment.
    pub(super) fn check_effects(&self) {
        for key in [0, 1] {
            let most = u32::from(!self.is_archived(key));
            assert!(self.effect(key).0 <= most, "it was executed again");
        }
    }

    fn check_call(&self, call: &Call) {
        let Sends { key, is_other } = call.sends;
        let (count, was_other) = self.effect(key);
        let ran_or_is_archived = count > 0 || self.is_archived(key);
        let is_of_other = is_other != was_other;
        let Some(End::Reply(bytes)) = &call.end else {
            return;
        };
        let answer = self.start.decode(bytes);
        let error = match answer {
            Ok(_) => {
                assert!(ran_or_is_archived && !is_of_other, "nobody executed this");
                if let (true, Some(first)) = (self.is_archived(key), &self.start.first) {
                    assert_eq!(bytes, first);
                }
                return;
            }
            Err(Failure::Own) => panic!("the method does not fail"),
            Err(Failure::Idempotency(error)) => error,
        };
        let is_fine = match error {
            IdempotencyError::KeyReused => ran_or_is_archived && is_of_other,
            IdempotencyError::Other { code: 8, .. } => self.has_failed(),
            IdempotencyError::InProgress { .. } => self.case.is_async && count > 0,
            IdempotencyError::OutcomeUnknown { .. } => {
                let is_overdue = self.windows > 0;
                let is_cut_off = self.faults.contains(&Fault::Upgrade);
                self.case.is_async && count > 0 && (is_overdue || is_cut_off)
            }
            IdempotencyError::QuotaExceeded { .. } => {
                self.case.policy.quota.is_some() && self.all_effects() > count
            }
            IdempotencyError::Full { .. } => self.case.is_almost_full && self.all_effects() > count,
            IdempotencyError::ReplyDropped { .. } => {
                ran_or_is_archived && self.case.policy.archive != Some(Keep::Replies)
            }
            _ => false,
        };
        assert!(is_fine, "{:?} was answered with {error:?}", call.sends);
    }

    /// Whoever was refused, or cut off before anything ran, has left nothing.
    fn check_store(&self) {
        let stats = self.stats();
        let (start, ran) = (&self.start.stats, u64::from(self.all_effects()));
        let is_cut = self.case.is_async && self.faults.contains(&Fault::Upgrade);
        assert_eq!(stats.in_progress, 0);
        assert!(stats.unknown == 0 || is_cut && stats.unknown <= ran);
        let forgets = self.windows > 0;
        let added = stats.entries - start.entries;
        assert!(added == ran || forgets && added == 0, "{added} records");
        let expected = match (added, &self.start.with_one) {
            (1, Some(one)) => one,
            _ => start,
        };
        if stats.unknown == 0 {
            assert_eq!(stats.bytes, expected.bytes);
        }
        if !forgets {
            assert_eq!(stats.counters, expected.counters);
        }
        assert_eq!(
            (stats.oldest.is_some(), stats.capacity),
            (stats.entries > 0, start.capacity)
        );
    }

    /// A retry of each request when all is well again.
    fn check_retries(&mut self) {
        for canister in self.world.others.canisters.values_mut() {
            canister.is_stopped = false;
        }
        for key in [0, 1] {
            if !self.case.calls.iter().any(|call| call.key == key) {
                continue;
            }
            let (before, was_other) = self.effect(key);
            let others = self.all_effects() - before;
            let unknown = self.stats().unknown;
            self.send(Sends {
                key,
                is_other: false,
            });
            self.let_end();
            self.check_effects();
            let number = self.calls.len() - 1;
            let retry = &self.calls[number];
            self.check_call(retry);
            let Some(End::Reply(bytes)) = &retry.end else {
                panic!("nobody cuts it off");
            };
            let answer = self.start.decode(bytes);
            let has_lost = self.faults.contains(&Fault::Reinstall);
            let is_refused = matches!(answer, Err(Failure::Idempotency(_)));
            let is_limited = self.case.policy.quota.is_some() || self.case.is_almost_full;
            let may_be_refused = has_lost
                || was_other
                || unknown > 0
                || (is_limited && others > 0)
                || self.case.policy.archive != Some(Keep::Replies);
            assert!(!is_refused || may_be_refused, "{answer:?}");
            if !is_refused && before == 0 && !self.is_archived(key) {
                assert_eq!(self.effect(key).0, 1, "it is new, and runs");
            }
        }
    }

    pub(super) fn check(&mut self) {
        for call in &self.calls {
            self.check_call(call);
        }
        if self.windows == 0 {
            self.check_store();
        } else {
            self.let_end();
            self.check_store();
        }
        self.check_retries();
        // G2
        for key in [0, 1] {
            let replies = self.calls.iter().filter(|call| call.sends.key == key);
            let replies = replies.filter_map(|call| match &call.end {
                Some(End::Reply(bytes)) => {
                    let answer = self.start.decode(bytes);
                    answer.ok().map(|_| bytes)
                }
                _ => None,
            });
            let replies: Vec<_> = replies.collect();
            assert!(replies.windows(2).all(|two| two[0] == two[1]));
            let (count, _) = self.effect(key);
            let is_told = self.case.is_async || count == 0 || !replies.is_empty();
            assert!(is_told, "the reply is of the message that executes");
        }
    }
}
