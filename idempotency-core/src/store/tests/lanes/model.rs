//! What is promised of lanes and quotas, in the plainest way.
//!
//! When the store forgets a lane it may choose, within bounds that are checked here; what follows from that is not.

mod shares;

use super::{
    LaneNumber, caller_of,
    charges::Charges,
    driver::{Answer, Driver, Ended, Happened, Sent},
    lane_identity,
    ops::{CALLERS, Config, LANES, MAX_REPLY_BYTES, Run},
    scope_identity,
};
use crate::{
    error::IdempotencyError,
    identity::Identity,
    policy::Policy,
    quota::Usage,
    sequence::{FreedLane, Sequence},
    store::{Counted, Stats},
    time::Timestamp,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// A longer reply does not lie in a lane. Arguments that are odd are compared by what was chosen of them, too.
fn longest_in_lane(args: u8) -> usize {
    if args.is_multiple_of(2) { 64 } else { 48 }
}

/// A floor may be so far above the highest number that was used.
const MOST_ABOVE: u64 = 4_097;

pub(super) struct Model {
    config: Config,
    now: u64,
    /// Those that are known.
    lanes: BTreeMap<LaneNumber, Lane>,
    outcomes: BTreeMap<(LaneNumber, u64), Outcome>,
    /// Every number that ever ran, but for those that were released.
    pub(super) executed: BTreeSet<(LaneNumber, u64)>,
    /// The highest number that ever began, or could have.
    highest: u64,
    /// Where a lane that is not known begins.
    floor: u64,
    /// The callers whose scopes are known.
    scopes: BTreeSet<u8>,
    /// How many times a lane was forgotten.
    pub(super) forgotten: u64,
    /// What the callers are charged for, without what is running.
    charges: BTreeMap<u8, Charges>,
}

#[derive(Clone, Debug)]
struct Lane {
    window: u16,
    /// Every number below was used.
    first: u64,
    first_incomplete: u64,
    used: BTreeSet<u64>,
    /// When the number that began last did so.
    begun: u64,
    /// The number whose record lies in it.
    last: Option<u64>,
    last_use: u64,
    /// It is known up to and including this time, and if lanes are evicted at least up to the other.
    kept_until: u64,
    never_evicted_until: u64,
}

#[derive(Clone, Debug)]
struct Outcome {
    args: u8,
    state: State,
    since: u64,
    /// It is remembered up to and including this time; if its record lies in its lane, for as long as no other number of a strict lane
    /// begins, and at least as long as that.
    expires_at: u64,
    is_in_lane: bool,
    /// If it counts against a quota: until when, and up to and including which time its record is held.
    counted_until: Option<u64>,
    held_until: u64,
}

#[derive(Clone, Debug)]
enum State {
    Running,
    Unknown,
    Done(Vec<u8>),
    Dropped,
}

/// What the window and the drift come to.
pub(super) fn reach(policy: &Policy) -> u64 {
    (policy.window + 2 * policy.drift).as_nanos() as u64
}

fn usage(driver: &Driver, caller: u8, at: Timestamp) -> Counted<Usage> {
    driver.store.usage(&scope_identity(caller), at).unwrap()
}

/// Until when the record of a number is held, or of one that was released as much as if it were.
fn held_until(driver: &Driver, key: (LaneNumber, u64), expires_at: u64) -> u64 {
    guaranteed_until(driver, key).unwrap_or_else(|| {
        let mut inner = driver.store.inner.borrow_mut();
        let partition =
            inner.partition_for(Timestamp::from_nanos(expires_at), driver.store.policy());
        inner.until(partition).unwrap().as_nanos()
    })
}

fn guaranteed_until(driver: &Driver, key: (LaneNumber, u64)) -> Option<u64> {
    let identity = Identity::of_number(&lane_identity(key.0), key.1);
    let until = driver.store.guaranteed_until(&identity).unwrap();
    until.map(Timestamp::as_nanos)
}

fn number_guaranteed_until(driver: &Driver, (lane, number): (LaneNumber, u64)) -> Option<u64> {
    let sequence = Sequence {
        lane: lane_identity(lane),
        number,
        max_in_flight: driver.config.window(lane),
        first_incomplete: None,
        is_shared: false,
    };
    let identity = Identity::of_number(&sequence.lane, number);
    let until = driver.store.number_guaranteed_until(&identity, &sequence);
    until.unwrap().map(Timestamp::as_nanos)
}

impl Lane {
    fn new(floor: u64) -> Self {
        Self {
            window: 1,
            first: floor,
            first_incomplete: floor,
            used: BTreeSet::new(),
            begun: 0,
            last: None,
            last_use: 0,
            kept_until: 0,
            never_evicted_until: 0,
        }
    }

    fn first_unused(&self) -> u64 {
        (self.first..=u64::MAX)
            .find(|number| !self.used.contains(number))
            .unwrap()
    }

    fn expected(&self) -> u64 {
        match self.window {
            1 => self.first,
            _ => self.first_unused(),
        }
    }

    fn with_window(&self, window: u16) -> Self {
        let mut lane = self.clone();
        if window == 1 && lane.window > 1 {
            lane.first = lane.first_unused();
        }
        lane.window = window;
        lane
    }

    /// Whether the record of this number, which has just ended, may lie in it.
    fn may_hold(&self, number: u64) -> bool {
        self.window == 1
            && self.first == number + 1
            && self.used.range(self.first..).next().is_none()
    }

    /// Whether it is strict, and waits for this number.
    fn is_stuck_on(&self, number: u64) -> bool {
        self.window == 1 && self.first == number && self.used.contains(&number)
    }

    fn used_by(&mut self, now: u64, policy: &Policy) {
        self.last_use = now;
        let idle = policy.counter_idle.as_nanos() as u64;
        self.kept_until = now + idle.max(2 * reach(policy));
        self.never_evicted_until = now + reach(policy);
    }
}

impl Model {
    pub(super) fn new(driver: &Driver) -> Self {
        Self {
            config: driver.config.clone(),
            now: driver.now,
            lanes: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            executed: BTreeSet::new(),
            highest: 0,
            floor: 0,
            scopes: BTreeSet::new(),
            forgotten: 0,
            charges: BTreeMap::new(),
        }
    }

    /// Whether what has just happened is what should.
    pub(super) fn check(
        &mut self,
        driver: &Driver,
        happened: Happened,
    ) -> Result<(), TestCaseError> {
        self.now = driver.now;
        let (mut newcomers, mut ended_late) = (0, 0);
        match happened {
            Happened::Answered(sent, answer) => {
                newcomers = self.newcomers(&sent);
                self.check_answer(driver, sent, answer, newcomers)?;
            }
            Happened::Ended(lane, number, ended, was_its_own) => {
                prop_assert!(was_its_own, "lane {lane} lost {number} while it ran");
                ended_late = 1;
                self.end(driver, lane, number, ended);
            }
            Happened::Freed(lane, number, freed) => {
                prop_assert_eq!(freed, self.free(lane, number));
            }
            Happened::Upgraded(config) => {
                self.config = config;
                for outcome in self.outcomes.values_mut() {
                    if matches!(outcome.state, State::Running) {
                        outcome.state = State::Unknown;
                    }
                }
            }
            Happened::NotOpened(error) => prop_assert!(false, "{error}"),
            Happened::Nothing => (),
        }
        self.check_known(driver, newcomers, ended_late)?;
        self.check_quotas(driver)?;
        Ok(())
    }

    /// How many lanes and scopes are known.
    fn known(&self) -> u64 {
        (self.lanes.len() + self.scopes.len()) as u64
    }

    /// How many more a request makes known.
    fn newcomers(&self, sent: &Sent) -> u64 {
        let scope_is_new =
            self.config.policy.quota.is_some() && !self.scopes.contains(&caller_of(sent.lane));
        u64::from(!self.lanes.contains_key(&sent.lane)) + u64::from(scope_is_new)
    }

    fn check_answer(
        &mut self,
        driver: &Driver,
        sent: Sent,
        answer: Answer,
        newcomers: u64,
    ) -> Result<(), TestCaseError> {
        let key = (sent.lane, sent.number);
        let remembered = (self.outcomes.get(&key)).map(|outcome| outcome.answer(&sent, self.now));
        if remembered.as_ref() == Some(&answer) {
            return Ok(());
        }
        let may_be_gone = (self.outcomes.get(&key)).is_none_or(|outcome| {
            outcome.expires_at < self.now && !outcome.is_running() && !outcome.is_in_lane
        });
        prop_assert!(
            may_be_gone,
            "{sent:?} was answered {answer:?}, not {remembered:?}"
        );
        if let Err(error) = self.admit(&sent) {
            prop_assert_eq!(answer, Answer::Refused(error), "{:?}", sent);
            return Ok(());
        }
        match answer {
            Answer::Executed(reply) => {
                prop_assert!(
                    !self.executed.contains(&key),
                    "{sent:?} has run a second time"
                );
                if let Some(quota) = self.config.policy.quota {
                    let [least, _] = self.taken(caller_of(sent.lane));
                    prop_assert!(
                        least.0 < quota.entries
                            && least.1 + u64::from(MAX_REPLY_BYTES) <= quota.reply_bytes,
                        "{least:?} was taken of {quota:?}"
                    );
                }
                self.execute(driver, sent, reply);
                Ok(())
            }
            Answer::Refused(IdempotencyError::Full { retry_after }) => {
                prop_assert!(retry_after > driver.now());
                self.check_full(driver, newcomers)
            }
            Answer::Refused(IdempotencyError::QuotaExceeded { retry_after }) => {
                self.check_exceeded(driver, caller_of(sent.lane), retry_after)
            }
            answer => Err(TestCaseError::fail(format!(
                "{sent:?} should run, and was answered {answer:?}"
            ))),
        }
    }

    /// Whether a request of which nothing is remembered may run.
    fn admit(&self, sent: &Sent) -> Result<(), IdempotencyError> {
        let unknown = Lane::new(self.floor);
        let lane = self.lanes.get(&sent.lane).unwrap_or(&unknown);
        let lane = lane.with_window(self.config.window(sent.lane));
        if lane.is_stuck_on(sent.number) {
            let since = Timestamp::from_nanos(lane.begun);
            return Err(IdempotencyError::OutcomeUnknown { since });
        }
        let expected = lane.expected();
        let Range { start, end } = expected..expected.saturating_add(lane.window.into());
        if sent.number < start || lane.used.contains(&sent.number) {
            Err(IdempotencyError::SequenceTooOld { expected })
        } else if sent.number >= end {
            Err(IdempotencyError::SequenceGap { expected })
        } else {
            Ok(())
        }
    }

    fn check_full(&self, driver: &Driver, newcomers: u64) -> Result<(), TestCaseError> {
        let Stats {
            entries,
            capacity,
            bytes,
            capacity_bytes,
            ..
        } = driver.stats();
        // The record, what says where the request comes from, and the reply.
        let most = 128 + 128 + u64::from(MAX_REPLY_BYTES);
        let is_full = entries >= capacity || bytes + most > capacity_bytes;
        let has_no_memory = driver.memory.refused_grows.get() > 0;
        let has_no_scope =
            newcomers > 0 && self.known() + newcomers > self.config.policy.max_counters;
        prop_assert!(
            is_full || has_no_memory || has_no_scope,
            "there is room for {newcomers} beside {}",
            self.known()
        );
        Ok(())
    }

    fn execute(&mut self, driver: &Driver, sent: Sent, reply: Vec<u8>) {
        let floor = self.floor;
        let lane = self
            .lanes
            .entry(sent.lane)
            .or_insert_with(|| Lane::new(floor));
        let policy = &self.config.policy;
        *lane = lane.with_window(self.config.window(sent.lane));
        lane.used_by(self.now, policy);
        lane.begun = self.now;
        if lane.window > 1 {
            lane.first = lane.first_unused();
        }
        self.highest = self.highest.max(sent.number);
        if let Some(last) = lane.last.take() {
            let before = (sent.lane, last);
            match lane.window {
                // Who sends the next number has the reply to this one.
                1 => drop(self.outcomes.remove(&before)),
                _ => self.outcomes.get_mut(&before).unwrap().is_in_lane = false,
            }
        }
        let key = (sent.lane, sent.number);
        let expires_at = self.now + policy.window.as_nanos() as u64;
        if sent.run != Run::Released {
            lane.used.insert(sent.number);
        }
        if sent.run == Run::Sync {
            lane.first = lane.first_unused();
            if lane.may_hold(sent.number) && reply.len() <= longest_in_lane(sent.args) {
                lane.last = Some(sent.number);
            }
        }
        let is_in_lane = lane.last.is_some();
        let held_until = match is_in_lane {
            true => expires_at,
            false => held_until(driver, key, expires_at),
        };
        let charges = self.charges.entry(caller_of(sent.lane)).or_default();
        let counted_until = policy
            .quota
            .map(|_| charges.count(self.now, held_until, 1, reply.len() as u64, policy));
        if sent.run != Run::Released {
            self.executed.insert(key);
            let outcome = Outcome {
                args: sent.args,
                state: match sent.run {
                    Run::Sync => State::Done(reply),
                    _ => State::Running,
                },
                since: self.now,
                expires_at,
                is_in_lane,
                counted_until,
                held_until,
            };
            self.outcomes.insert(key, outcome);
        }
        for _ in 0..2 {
            if lane.first_incomplete < lane.first
                && sent.first_incomplete.is_some_and(|first_incomplete| {
                    lane.first_incomplete < first_incomplete.min(sent.number)
                })
            {
                let key = (sent.lane, lane.first_incomplete);
                lane.first_incomplete += 1;
                if (self.outcomes.get(&key)).is_some_and(|outcome| outcome.has_ended()) {
                    self.outcomes.remove(&key);
                }
            }
        }
    }

    fn end(&mut self, driver: &Driver, number: LaneNumber, sequence: u64, ended: Ended) {
        let key = (number, sequence);
        let outcome = self.outcomes.get_mut(&key).unwrap();
        // What ran past its window is recorded anew, or not at all.
        if let Some(until) = guaranteed_until(driver, key) {
            outcome.held_until = until;
        }
        if let Some(counted_until) = outcome.counted_until
            && outcome.held_until >= self.now
        {
            let reply_bytes = match &ended {
                Ended::Reply(reply) => reply.len() as u64,
                Ended::NoReply | Ended::Interrupted => 0,
            };
            // Its new record lives longer than it counts.
            let entries = u64::from(counted_until < outcome.held_until);
            let charges = self.charges.entry(caller_of(number)).or_default();
            let (until, policy) = (outcome.held_until, &self.config.policy);
            charges.count(self.now, until, entries, reply_bytes, policy);
        }
        outcome.state = match ended {
            Ended::Reply(reply) => State::Done(reply),
            Ended::NoReply => State::Dropped,
            Ended::Interrupted => {
                outcome.state = State::Unknown;
                return;
            }
        };
        if let Some(lane) = self.lanes.get_mut(&number)
            && lane.last.is_none()
        {
            lane.used_by(self.now, &self.config.policy);
            if lane.window > 1 || lane.first == sequence {
                lane.first = lane.first_unused();
            }
        }
    }

    fn free(&mut self, number: LaneNumber, sequence: u64) -> FreedLane {
        let next = self.floor;
        let Some(lane) = self.lanes.get_mut(&number) else {
            return FreedLane::NotStuck { next };
        };
        let since = Timestamp::from_nanos(lane.begun);
        let outcome = self.outcomes.get(&(number, sequence));
        if !lane.is_stuck_on(sequence) {
            let next = lane.expected();
            FreedLane::NotStuck { next }
        } else if outcome.is_some_and(Outcome::is_running) {
            FreedLane::Running { since }
        } else {
            lane.first = lane.first_unused();
            FreedLane::Freed { since }
        }
    }

    /// Whether the lanes that the store knows are those that it should know, and stand where they should.
    fn check_known(
        &mut self,
        driver: &Driver,
        newcomers: u64,
        ended_late: u64,
    ) -> Result<(), TestCaseError> {
        let policy = self.config.policy;
        let known_before = self.known();
        let is_under_pressure = newcomers > 0 && known_before + newcomers > policy.max_counters;
        let floor = driver.store.inner.borrow().sequence_floor();
        prop_assert!(floor >= self.floor);
        prop_assert!(floor <= self.highest + MOST_ABOVE, "the floor has run off");
        for number in 0..LANES {
            let identity = lane_identity(number);
            let found = driver.store.lane(&identity).unwrap();
            let is_known = !found.is_new();
            let next = driver.store.next_number(&identity).unwrap();
            let Some(lane) = self.lanes.get_mut(&number) else {
                prop_assert!(!is_known && next == floor);
                continue;
            };
            if is_known {
                prop_assert_eq!(next, lane.expected());
                let in_lane = found.counter.last();
                if let Some(last) = lane.last.filter(|_| in_lane.is_none()) {
                    // A request that was refused has made room for itself.
                    prop_assert!(
                        self.config.window(number) > 1,
                        "lane {number}: {lane:?} {:?}",
                        found
                    );
                    lane.last = None;
                    self.outcomes.get_mut(&(number, last)).unwrap().is_in_lane = false;
                }
                prop_assert_eq!(in_lane, lane.last);
                if let Some(last) = in_lane {
                    let until = number_guaranteed_until(driver, (number, last));
                    let promised = self.outcomes[&(number, last)].expires_at;
                    prop_assert!(until.is_some_and(|until| until >= promised));
                }
                continue;
            }
            let may_be_evicted = policy.evicts_idle_counters
                && is_under_pressure
                && lane.never_evicted_until < self.now;
            prop_assert!(
                lane.kept_until < self.now || may_be_evicted,
                "lane {number} was forgotten at {}: {lane:?}",
                self.now
            );
            if let Some(last) = lane.last {
                let gone = self.outcomes.remove(&(number, last));
                prop_assert!(gone.is_some_and(|gone| gone.expires_at < self.now));
            }
            self.lanes.remove(&number);
            self.forgotten += 1;
            let used = self.executed.range((number, 0)..=(number, u64::MAX));
            let highest = used.map(|(_, number)| *number).max();
            prop_assert!(highest.is_none_or(|highest| highest < floor));
        }
        self.floor = floor;
        self.highest = self.highest.max(floor);
        self.scopes = (0..CALLERS)
            .filter(|caller| !usage(driver, *caller, driver.now()).is_new())
            .collect();
        let known = self.known();
        // One more where the scope was forgotten of what ran for so long, and has a reply now.
        let most = known_before.max(policy.max_counters) + ended_late;
        prop_assert!(known <= most, "{known} are known");
        Ok(())
    }
}

impl Outcome {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running)
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Done(_) | State::Dropped)
    }

    fn bytes(&self) -> u64 {
        match &self.state {
            State::Running => MAX_REPLY_BYTES.into(),
            State::Done(reply) => reply.len() as u64,
            State::Unknown | State::Dropped => 0,
        }
    }

    fn answer(&self, sent: &Sent, now: u64) -> Answer {
        let since = Timestamp::from_nanos(self.since);
        if sent.args != self.args {
            return Answer::Refused(IdempotencyError::KeyReused);
        }
        match &self.state {
            State::Running if now <= self.expires_at => {
                Answer::Refused(IdempotencyError::InProgress { since })
            }
            State::Running | State::Unknown => {
                Answer::Refused(IdempotencyError::OutcomeUnknown { since })
            }
            State::Done(reply) => Answer::Replayed(reply.clone()),
            State::Dropped => {
                Answer::Refused(IdempotencyError::ReplyDropped { executed_at: since })
            }
        }
    }
}
