//! What the canisters' own books say: while the run goes on, and in the end.

use std::time::Duration;

use candid::Principal;
use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use integration_tests::user;
use serde_bytes::ByteBuf;

use super::clients::Known;
use super::requests::{Effects, Id, LANES, Request, Seen, client_of_lane};
use super::run::{Run, encoded};
use super::types::{Stats, Unknown};

impl Run<'_> {
    /// What is remembered has ended or is parked. Returns the keys that are parked, and those that are not known.
    pub(super) fn check_ends(&mut self) -> Result<(Vec<Id>, Vec<Id>), String> {
        let mut effects = self.effects()?;
        let recent: Vec<Request> = (self.told.requests())
            .filter(|request| self.is_recent(request.id))
            .cloned()
            .collect();
        let keys = recent.iter().filter_map(|request| match request.id {
            Id::Key(key) => Some((request.id.client(), ByteBuf::from(key.to_le_bytes()))),
            Id::Number { .. } => None,
        });
        let keys: Vec<_> = keys.collect();
        let mut known = self.query::<(Vec<bool>,)>("known", (keys,))?.0.into_iter();
        let lanes = self.lanes()?;
        let parked = self.parked()?;
        let (mut open, mut absent) = (vec![], vec![]);
        for request in recent {
            let id = request.id;
            let is_known = match id {
                Id::Key(_) => known.next().unwrap_or_default(),
                Id::Number { lane, number } => number < lanes[usize::from(lane)].0,
            };
            let seen = request.take(&mut effects)?;
            let is_parked = parked.iter().any(|reason| request.may_park_for(reason));
            match (is_known, seen) {
                (true, Seen::All) if !is_parked => self.counts.count("ended by themselves"),
                (true, Seen::Nothing | Seen::Part) if is_parked => {
                    open.push(id);
                    self.counts.count("parked in the end");
                }
                (false, Seen::Nothing) => {
                    absent.push(id);
                    self.counts.count("never accepted");
                }
                _ => {
                    return Err(format!(
                        "{request:?}: known {is_known}, parked {is_parked}, effects {seen:?}"
                    ));
                }
            }
        }
        Ok((open, absent))
    }

    /// The reasons of all that is parked, which are such as they may be.
    fn parked(&mut self) -> Result<Vec<String>, String> {
        let (unknown,) = self.query::<(Vec<Unknown>,)>("unknown", (0u64, 100_000u64))?;
        let (stats,) = self.query::<(Stats,)>("stats", ())?;
        if stats.unknown != unknown.len() as u64 {
            return Err(format!("{stats:?}, but {} are listed", unknown.len()));
        }
        let reasons = unknown.into_iter().map(|unknown| {
            let reason = unknown.reason.clone().unwrap_or_default();
            match self
                .told
                .requests()
                .any(|request| request.may_park_for(&reason))
            {
                true => Ok(reason),
                false => Err(format!("{unknown:?} should not be parked")),
            }
        });
        reasons.collect()
    }

    /// Each request once more: a message for each, in which nothing happens, unless it was never accepted.
    pub(super) fn ask_again(&mut self, (open, absent): &(Vec<Id>, Vec<Id>)) -> Result<(), String> {
        let requests: Vec<Id> = (self.told.requests())
            .map(|request| request.id)
            .filter(|id| self.is_recent(*id) && !absent.contains(id))
            .collect();
        let before = self.effects()?;
        for id in requests {
            let messages = self.host.replica.faults.report().messages;
            self.send(id, false);
            let said = if open.contains(&id) { "parked" } else { "done" };
            let told = self.counts.get(said);
            self.step(Duration::ZERO)?;
            let messages = self.host.replica.faults.report().messages - messages;
            if self.counts.get(said) != told + 1 || messages != 1 {
                return Err(format!(
                    "{id:?} is not {said} at once, but after {messages} messages"
                ));
            }
        }
        match self.effects()? == before {
            true => Ok(()),
            false => Err("a retry has effects".to_owned()),
        }
    }

    /// The canisters' own books, at any time.
    pub(super) fn audit(&mut self) -> Result<(), String> {
        // Stopped, or out of cycles: the next audit sees it.
        let (Ok(mut effects), Ok(lanes)) = (self.effects(), self.lanes()) else {
            return Ok(());
        };
        self.counts.count("audits");
        let mut executed = 0;
        for request in self.told.requests() {
            let id = request.id;
            let seen = request.take(&mut effects)?;
            executed += u64::from(seen == Seen::All);
            let (is_due, is_over) = match id {
                Id::Key(_) => (true, self.told.known(id) == Known::Done),
                Id::Number { lane, number } => {
                    let (next, is_begun) = lanes[usize::from(lane)];
                    (number < next + u64::from(is_begun), number < next)
                }
            };
            if (is_over && seen != Seen::All) || (!is_due && seen != Seen::Nothing) {
                return Err(format!(
                    "{request:?}: over {is_over}, due {is_due}, {seen:?}"
                ));
            }
        }
        if !effects.is_empty() {
            return Err(format!("nobody's effects: {effects:?}"));
        }
        for (lane, (next, _)) in (0..).zip(lanes) {
            let (least, most) = (self.told.least(lane), self.told.most(lane));
            if !(least..=most).contains(&next) {
                return Err(format!(
                    "lane {lane} goes on with {next}, not {least} to {most}"
                ));
            }
        }
        let (stats,) = self.query::<(Stats,)>("stats", ())?;
        let incarnation = 1 + self.upgrades.0;
        if stats.incarnation != incarnation {
            return Err(format!("{stats:?}, after {incarnation} heaps"));
        }
        self.parked()?;
        self.counts.0.insert("executed to the end", executed);
        Ok(())
    }

    /// With which number each lane goes on, and whether that has begun.
    fn lanes(&mut self) -> Result<Vec<(u64, bool)>, String> {
        let clients: Vec<Principal> = (0..LANES).map(client_of_lane).collect();
        Ok(self.query::<(Vec<(u64, bool)>,)>("lanes", (clients,))?.0)
    }

    /// Of both canisters.
    fn effects(&mut self) -> Result<Effects, String> {
        let (mut effects,) = self.query::<(Effects,)>("effects", ())?;
        let (others,) = self.query_of::<(Effects,)>(self.callee, "effects", ())?;
        effects.extend(others);
        Ok(effects)
    }

    fn query<T: for<'b> ArgumentDecoder<'b>>(
        &mut self,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T, String> {
        self.query_of(self.canister, method, args)
    }

    fn query_of<T: for<'b> ArgumentDecoder<'b>>(
        &mut self,
        canister: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T, String> {
        let reply = self.host.query(user(255), canister, method, encoded(args));
        let reply = reply.map_err(|error| error.to_string())?;
        candid::decode_args(&reply).map_err(|error| error.to_string())
    }
}
