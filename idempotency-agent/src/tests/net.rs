//! The client's side of the simulated network.

use super::world::{Content, Due, MINUTE, SECOND, World};
use crate::{Draft, Message, Status, Submitted, Transport, Trouble};
use candid::Principal;
use idempotency_core::Timestamp;
use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// The client's side of the network.
#[derive(Clone)]
pub(super) struct Net(pub(super) Arc<Mutex<World>>);

impl Net {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// What it takes until something arrives. `true` if it does.
    async fn transit(&self) -> bool {
        let is_killed = {
            let mut world = self.world();
            let latency = world.rng.u64(..2 * SECOND);
            world.pass(latency);
            world.rng.u32(..1000) < u32::from(world.faults.killed)
        };
        if is_killed {
            pending::<()>().await;
        }
        let mut world = self.world();
        let lost = world.faults.lost;
        !world.happens(lost)
    }
}

impl Transport for Net {
    fn sender(&self) -> Result<Principal, String> {
        Ok(Principal::from_slice(&[9]))
    }

    fn sign(&self, draft: Draft<'_>) -> Result<Message, String> {
        let mut world = self.world();
        let id = std::array::from_fn(|_| world.rng.u8(..));
        let content = Content {
            method: draft.method.into(),
            arg: draft.arg.into(),
            expiry: draft.expiry.as_nanos(),
        };
        world.contents.insert(id, content);
        Ok(Message {
            id,
            expiry: draft.expiry,
            bytes: id.into(),
        })
    }

    async fn submit(&self, _: Principal, message: &Message) -> Result<Submitted, Trouble> {
        let id = message.id;
        let arrives = self.transit().await;
        {
            let mut world = self.world();
            let faults = world.faults;
            let copies = u8::from(arrives) + u8::from(world.happens(faults.twice));
            for copy in 0..copies {
                // Questions are not made late: what is late is to be asked about.
                let method = &*world.contents[&id].method;
                let is_question = !["act", "icrc1_transfer"].contains(&method);
                let is_late = !is_question && (copy > 0 || world.happens(faults.late));
                let delay = if is_late {
                    world.rng.u64(..8 * MINUTE)
                } else {
                    0
                };
                let at = world.now + delay;
                world.at(at, Due::Arrives(id));
            }
        }
        let is_answered = self.transit().await;
        let mut world = self.world();
        let faults = world.faults;
        if world.happens(faults.lie) {
            return Err(world.lie());
        }
        if !is_answered {
            return Err(Trouble::Unreachable("no answer".into()));
        }
        match world.status(id, world.now) {
            status @ (Status::Replied(_) | Status::Rejected(_)) => Ok(Submitted::Certified(status)),
            _ => Ok(Submitted::Accepted),
        }
    }

    async fn status(
        &self,
        _: Principal,
        message: &Message,
        _: Timestamp,
    ) -> Result<(Status, Timestamp), Trouble> {
        let arrives = self.transit().await;
        let is_answered = self.transit().await;
        let mut world = self.world();
        let faults = world.faults;
        if world.happens(faults.blocked) {
            world.blocked_until = world.now + world.rng.u64(..6 * MINUTE);
        }
        if !arrives || !is_answered || world.now < world.blocked_until {
            return Err(Trouble::Unreachable("no status".into()));
        }
        let mut at = world.now;
        if world.happens(faults.lie) {
            if world.rng.bool() {
                return Err(world.lie());
            }
            // A certificate that is stale.
            at -= world.rng.u64(..10 * MINUTE);
        }
        Ok((world.status(message.id, at), Timestamp::from_nanos(at)))
    }

    async fn time(&self, _: Principal) -> Result<Timestamp, Trouble> {
        if !self.transit().await {
            return Err(Trouble::Unreachable("no time".into()));
        }
        let mut world = self.world();
        let faults = world.faults;
        let age = if world.happens(faults.lie) {
            world.rng.u64(..5 * MINUTE)
        } else {
            0
        };
        Ok(Timestamp::from_nanos(world.now - age))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.world().local)
    }

    async fn sleep(&self, time: Duration) {
        let mut world = self.world();
        let time = u64::try_from(time.as_nanos()).unwrap() * 100 / world.rate + 1;
        let faults = world.faults;
        let local = world.local;
        world.pass(time);
        if world.happens(faults.jump) {
            let jump = world.rng.u64(..5 * MINUTE);
            match world.rng.bool() {
                // The client's machine slept, and its clock stood still.
                true => {
                    let local_now = world.local;
                    world.pass(jump);
                    world.local = local_now;
                }
                false => world.local += jump,
            }
        }
        assert!(world.local > local, "a wait that does not end");
    }
}
