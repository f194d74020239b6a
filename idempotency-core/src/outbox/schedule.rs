//! Whose turn it is: in order within a lane, freely between lanes, so many at a time, so many a second to one host. On the heap: it
//! follows from the messages that have not ended, and is made of them again after an upgrade.

use super::policy::Policy;
use crate::time::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// A time, and what it is the time of.
type Queue = BTreeSet<(Timestamp, u64)>;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u64,
    /// 0 if none.
    pub(super) lane: u64,
    pub(super) host: u64,
}

#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// What is in each lane and has not ended, in order; the first one has its turn.
    lanes: BTreeMap<u64, VecDeque<Waiting>>,
    /// Whose turn it is, by host.
    ready: BTreeMap<u64, Queue>,
    /// Each host that has something ready, by the time at which it may be called.
    hosts: Queue,
    /// Hosts that were called.
    called: BTreeMap<u64, Called>,
    /// What is under way, by the time at which it is given up.
    under_way: Queue,
    /// What an earlier heap had under way, by the time at which it is certainly so no more. Its answers may yet come, to this heap.
    cut_off: Queue,
    /// Ends that are to be told.
    ends: Queue,
}

/// How often a host was called within a second.
#[derive(Clone, Copy, Debug)]
struct Called {
    since: Timestamp,
    times: u32,
    /// Not again before.
    rests_until: Timestamp,
}

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Waiting {
    place: Place,
    due: Timestamp,
}

impl Schedule {
    /// A message waits until its time, and its turn. A lane's messages come in the order of their numbers.
    pub(super) fn wait(&mut self, place: Place, due: Timestamp) {
        if place.lane == 0 {
            return self.make_ready(Waiting { place, due });
        }
        let lane = self.lanes.entry(place.lane).or_default();
        match lane.front_mut() {
            // Again.
            Some(first) if first.place.number == place.number => {
                first.due = due;
                self.make_ready(Waiting { place, due });
            }
            Some(_) => lane.push_back(Waiting { place, due }),
            None => {
                lane.push_back(Waiting { place, due });
                self.make_ready(Waiting { place, due });
            }
        }
    }

    fn make_ready(&mut self, Waiting { place, due }: Waiting) {
        let before = self.host_time(place.host);
        let queue = self.ready.entry(place.host).or_default();
        queue.insert((due, place.number));
        self.host_changed(place.host, before);
    }

    /// The time at which a host may be called for what is ready.
    fn host_time(&self, host: u64) -> Option<Timestamp> {
        let (first, _) = self.ready.get(&host)?.first()?;
        let called = self.called.get(&host);
        Some(called.map_or(*first, |called| called.rests_until.max(*first)))
    }

    fn host_changed(&mut self, host: u64, before: Option<Timestamp>) {
        let after = self.host_time(host);
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.hosts.remove(&(before, host));
        }
        if let Some(after) = after {
            self.hosts.insert((after, host));
        }
    }

    /// The next message whose time and turn have come, if one may be sent.
    pub(super) fn next(&self, now: Timestamp, policy: &Policy) -> Option<u64> {
        if self.under_way.len() >= policy.in_flight as usize {
            return None;
        }
        let (time, host) = self.hosts.first()?;
        if *time > now {
            return None;
        }
        let (_, number) = self.ready.get(host)?.first()?;
        Some(*number)
    }

    /// A message that was [`next`](Self::next) is under way, until a time at which it is given up.
    pub(super) fn send(
        &mut self,
        place: Place,
        due: Timestamp,
        (now, until): (Timestamp, Timestamp),
        policy: &Policy,
    ) {
        self.take(place, due);
        let before = self.host_time(place.host);
        let first = Called {
            since: now,
            times: 0,
            rests_until: Timestamp::default(),
        };
        let called = self.called.entry(place.host).or_insert(first);
        if called.since.plus(SECOND) <= now {
            *called = first;
        }
        called.times += 1;
        if called.times >= policy.per_host_per_second {
            called.rests_until = called.since.plus(SECOND);
        }
        self.host_changed(place.host, before);
        self.under_way.insert((until, place.number));
    }

    /// What an earlier heap had under way keeps its turn until a time. It comes before what waits in its lane.
    pub(super) fn cut_off(&mut self, place: Place, until: Timestamp) {
        self.cut_off.insert((until, place.number));
        if place.lane != 0 {
            let lane = self.lanes.entry(place.lane).or_default();
            lane.push_back(Waiting { place, due: until });
        }
    }

    /// A message that was ready is so no more.
    fn take(&mut self, place: Place, due: Timestamp) {
        let before = self.host_time(place.host);
        if let Some(queue) = self.ready.get_mut(&place.host) {
            queue.remove(&(due, place.number));
            if queue.is_empty() {
                self.ready.remove(&place.host);
            }
        }
        self.host_changed(place.host, before);
    }

    /// What was under way is so no more.
    pub(super) fn answered(&mut self, number: u64, until: Timestamp) {
        self.under_way.remove(&(until, number));
        self.cut_off.retain(|(_, cut_off)| *cut_off != number);
    }

    /// A message has ended, or is taken back: the next in its lane has its turn.
    pub(super) fn leave(&mut self, place: Place, due: Timestamp) {
        self.take(place, due);
        let Some(lane) = self.lanes.get_mut(&place.lane) else {
            return;
        };
        let is_first = lane
            .front()
            .is_some_and(|first| first.place.number == place.number);
        if !is_first {
            lane.retain(|waiting| waiting.place.number != place.number);
            return;
        }
        lane.pop_front();
        match lane.front().copied() {
            Some(next) => self.make_ready(next),
            None => {
                self.lanes.remove(&place.lane);
            }
        }
    }

    /// An end is to be told at a time.
    pub(super) fn tell(&mut self, number: u64, due: Timestamp) {
        self.ends.insert((due, number));
    }

    /// It was told, or is to be told at another time.
    pub(super) fn told(&mut self, number: u64, due: Timestamp) {
        self.ends.remove(&(due, number));
    }

    /// No end is to be told by this heap.
    pub(super) fn forget_ends(&mut self) {
        self.ends.clear();
    }

    /// The next end that is to be told by now.
    pub(super) fn next_end(&self, now: Timestamp) -> Option<u64> {
        let (due, number) = self.ends.first()?;
        (*due <= now).then_some(*number)
    }

    /// What is under way and given up by now.
    pub(super) fn next_overdue(&self, now: Timestamp) -> Option<u64> {
        let overdue = [&self.under_way, &self.cut_off].map(|queue| queue.first());
        let (until, number) = overdue.into_iter().flatten().min()?;
        (*until < now).then_some(*number)
    }

    /// What is under way, this heap's and others'.
    pub(super) fn all_under_way(&self) -> impl Iterator<Item = u64> {
        let all = self.under_way.iter().chain(&self.cut_off);
        all.map(|(_, number)| *number)
    }

    /// When there is something to do next; `rests_until` is when messages may be sent again.
    pub(super) fn due(&self, rests_until: Timestamp, policy: &Policy) -> Option<Timestamp> {
        let may_send = self.under_way.len() < policy.in_flight as usize;
        let send = (self.hosts.first()).filter(|_| may_send);
        let send = send.map(|(time, _)| (*time).max(rests_until));
        let end = self.ends.first().map(|(due, _)| *due);
        // Strictly after the last instant.
        let overdue = [&self.under_way, &self.cut_off].map(|queue| queue.first());
        let overdue = overdue.into_iter().flatten().min();
        let overdue = overdue.map(|(until, _)| until.plus(NANOSECOND));
        [send, end, overdue].into_iter().flatten().min()
    }

    /// Forgets which hosts were called more than a second ago. Where something is ready, the host's time was made with it.
    pub(super) fn forget_called(&mut self, now: Timestamp) {
        let ready = &self.ready;
        let is_recent = |called: &Called| called.since.plus(SECOND) > now;
        (self.called).retain(|host, called| is_recent(called) || ready.contains_key(host));
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);
