//! The requests that this process is about to execute, or executes, and who waits for each.

use crate::{
    answer::Answer,
    digest::{Digest, RequestId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, watch};

/// The requests under way, by identity and body: copies with another body wait for their own.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    map: Mutex<Map>,
}

#[derive(Debug, Default)]
struct Map {
    flights: BTreeMap<RequestId, Flight>,
    /// How much their bodies take.
    bytes: usize,
}

#[derive(Debug)]
struct Flight {
    answer: watch::Receiver<Option<Landed>>,
    waiting: usize,
    senders: BTreeSet<Vec<u8>>,
    /// Of those whom nobody told apart.
    others: usize,
    phase: Phase,
    /// The quorum is there.
    reached: Arc<Notify>,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Too few have sent it.
    Gathering,
    /// It is looked up, or executed.
    Running,
    /// Enough have sent the key with another body.
    Lost,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(crate) struct Landed {
    pub(crate) answer: Answer,
    /// It was executed earlier, not for those who wait for it.
    pub(crate) replayed: bool,
}

/// Who sent a request, where copies are counted.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    /// Each request counts.
    ByAnyone,
    /// Those of the same sender count as one.
    By(Vec<u8>),
}

/// How many may be under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) waiting: usize,
    pub(crate) flights: usize,
    pub(crate) bytes: usize,
}

/// What a request that has arrived does next.
#[derive(Debug)]
pub(crate) enum Joined {
    /// It waits for the answer, which somebody else gets.
    Follows(Waiter),
    /// It is the first, and gets the answer.
    Leads(Waiter, Leader),
    /// Too many wait already for a request that is so far.
    Crowded(Phase),
    /// Too many requests are under way.
    Busy,
}

impl Flights {
    fn map(&self) -> MutexGuard<'_, Map> {
        // Nothing below panics between two changes that belong together.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far a request is; one that is not under way has ended.
    fn phase(&self, id: RequestId) -> Phase {
        let map = self.map();
        map.flights
            .get(&id)
            .map_or(Phase::Running, |flight| flight.phase)
    }

    /// Has a request join those that are equal to it. `needed` of them are executed at once, 1 for no quorum.
    pub(crate) fn join(
        self: &Arc<Self>,
        id: RequestId,
        size: usize,
        sent: Sent,
        needed: usize,
        room: Room,
    ) -> Joined {
        let mut map = self.map();
        let map = &mut *map;
        let waiter = |answer| Waiter {
            flights: Arc::clone(self),
            id,
            answer,
        };
        if let Some(flight) = map.flights.get_mut(&id) {
            // It counts even where it can't wait.
            flight.count(sent, needed);
            if flight.waiting >= room.waiting {
                return Joined::Crowded(flight.phase);
            }
            flight.waiting += 1;
            return Joined::Follows(waiter(flight.answer.clone()));
        }
        if map.flights.len() >= room.flights || map.bytes.saturating_add(size) > room.bytes {
            return Joined::Busy;
        }
        let (sender, receiver) = watch::channel(None);
        let mut flight = Flight {
            answer: receiver.clone(),
            waiting: 1,
            senders: BTreeSet::new(),
            others: 0,
            phase: Phase::Gathering,
            reached: Arc::new(Notify::new()),
        };
        flight.count(sent, needed);
        let leader = Leader {
            flights: Arc::clone(self),
            id,
            size: Some(size),
            answer: sender,
            reached: Arc::clone(&flight.reached),
        };
        map.bytes += size;
        map.flights.insert(id, flight);
        Joined::Leads(waiter(receiver), leader)
    }
}

impl Flight {
    fn count(&mut self, sent: Sent, needed: usize) {
        // What comes later changes nothing, so what is kept stays below what is needed.
        if self.phase != Phase::Gathering {
            return;
        }
        match sent {
            Sent::ByAnyone => self.others += 1,
            Sent::By(sender) => {
                self.senders.insert(sender);
            }
        }
        if self.senders.len() + self.others >= needed {
            self.phase = Phase::Running;
            self.senders.clear();
            self.reached.notify_one();
        }
    }
}

/// Somebody who waits for an answer.
#[derive(Debug)]
pub(crate) struct Waiter {
    flights: Arc<Flights>,
    id: RequestId,
    answer: watch::Receiver<Option<Landed>>,
}

impl Waiter {
    /// The answer; `None` if whoever should get it is gone.
    pub(crate) async fn landed(&mut self) -> Option<Landed> {
        let landed = self.answer.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }

    /// How far the request is; it may have ended meanwhile.
    pub(crate) fn phase(&self) -> Phase {
        self.flights.phase(self.id)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut map = self.flights.map();
        if let Some(flight) = map.flights.get_mut(&self.id) {
            // It may be another flight of the same request, if this one has ended.
            if flight.answer.same_channel(&self.answer) {
                flight.waiting -= 1;
            }
        }
    }
}

/// The right to get the answer for all who wait. The request is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Leader {
    flights: Arc<Flights>,
    id: RequestId,
    /// How much its body takes, as long as the request is under way.
    size: Option<usize>,
    answer: watch::Sender<Option<Landed>>,
    reached: Arc<Notify>,
}

impl Leader {
    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    /// Waits until enough have sent the request, or enough have sent another with its key.
    pub(crate) async fn decided(&self) {
        self.reached.notified().await;
    }

    /// How far the request is.
    pub(crate) fn phase(&self) -> Phase {
        self.flights.phase(self.id)
    }

    /// Tells those who gather for the same key and another body that they have lost.
    pub(crate) fn won(&self) {
        let least = |byte| RequestId {
            identity: self.id.identity,
            fingerprint: Digest([byte; 32]),
        };
        let mut map = self.flights.map();
        for (_, flight) in map.flights.range_mut(least(0)..=least(u8::MAX)) {
            if flight.phase == Phase::Gathering {
                flight.phase = Phase::Lost;
                flight.senders.clear();
                flight.reached.notify_one();
            }
        }
    }

    /// Gives all who wait the answer, and those who come until this is dropped.
    pub(crate) fn tell(&self, landed: Landed) {
        self.answer.send_replace(Some(landed));
    }

    /// Gives all who wait the answer. Who comes then, such as one of those again, is a new one.
    pub(crate) fn land(mut self, landed: Landed) {
        self.remove();
        self.tell(landed);
    }

    fn remove(&mut self) {
        if let Some(size) = self.size.take() {
            let mut map = self.flights.map();
            map.flights.remove(&self.id);
            map.bytes -= size;
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.remove();
    }
}
