//! Any messages beside servers of any kind, which act and don't answer, answer and don't act, act late, and are asked; with upgrades and lost
//! answers in between. What the outbox says in the end is compared with what the servers did.

use super::{
    super::{MessageId, Outcome, Policy, Request},
    world::{Outcall, START, World, answer, rejected, timed_out},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How a server tells a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// By the key.
    Keyed,
    /// Not at all, but it can be asked.
    Asked,
    Neither,
}

#[derive(Clone, Debug)]
enum Event {
    Send {
        kind: Kind,
        lane: u8,
        host: u8,
    },
    Pass {
        seconds: u16,
    },
    Answer {
        which: u8,
        how: How,
    },
    Lose {
        which: u8,
        acts: bool,
    },
    Upgrade {
        act: bool,
    },
    /// The answers to what is under way come to the new heap.
    UpgradeInFlight,
}

/// How a server and the network treat an outcall.
#[derive(Clone, Copy, Debug)]
enum How {
    Good,
    /// It acts, and the answer is lost.
    ActedOnly,
    /// Nothing arrives, which is not known.
    Lost,
    /// It acts a little later.
    Late,
    /// Certainly not sent.
    NotSent,
    /// It acts, and says that it failed.
    Failed,
    Busy,
    /// It does not act, for good.
    Refused,
}

/// What servers have done.
#[derive(Default)]
struct Servers {
    /// How often each message had its effect.
    effects: BTreeMap<u64, u32>,
    keys: BTreeSet<String>,
    refused: BTreeSet<String>,
    /// What acts until a time.
    late: Vec<(u64, u64, Option<String>)>,
    keys_of: BTreeMap<u64, BTreeSet<String>>,
}

fn number(outcall: &Outcall) -> u64 {
    let (_, number) = outcall.request.url.rsplit_once('/').unwrap();
    number.parse().unwrap()
}

impl Servers {
    fn act(&mut self, message: u64, key: Option<String>) {
        if key.is_none_or(|key| self.keys.insert(key)) {
            *self.effects.entry(message).or_default() += 1;
        }
    }

    fn settle_late(&mut self, now: u64, are_all: bool) {
        for (until, message, key) in std::mem::take(&mut self.late) {
            match until <= now || are_all {
                true => self.act(message, key),
                false => self.late.push((until, message, key)),
            }
        }
    }

    fn note(&mut self, outcall: &Outcall) -> Option<String> {
        let key = outcall.header("Idempotency-Key").map(str::to_owned);
        if let Some(key) = &key {
            let keys = self.keys_of.entry(number(outcall)).or_default();
            keys.insert(key.clone());
        }
        key
    }

    /// The answer of the server to an outcall, after it has done what it does.
    fn treat(
        &mut self,
        outcall: &Outcall,
        how: How,
        now: u64,
    ) -> Result<Vec<u8>, crate::runtime::Rejected> {
        let message = number(outcall);
        if outcall.is_question() {
            let is_there = self.effects.contains_key(&message);
            return match how {
                How::Good | How::Refused => {
                    answer(200, if is_there { "there" } else { "not there" })
                }
                How::Busy => answer(200, "what?"),
                How::Failed => answer(500, "there"),
                How::NotSent => rejected(0, "full"),
                How::ActedOnly | How::Lost | How::Late => timed_out(),
            };
        }
        let key = self.note(outcall);
        let is_refused = key.as_ref().is_some_and(|key| self.refused.contains(key));
        let is_known = key.as_ref().is_some_and(|key| self.keys.contains(key));
        match how {
            How::Good if is_refused => answer(422, ""),
            How::Good => {
                self.act(message, key);
                answer(201, "")
            }
            How::ActedOnly if is_refused => timed_out(),
            How::ActedOnly => {
                self.act(message, key);
                timed_out()
            }
            How::Lost => timed_out(),
            How::Late => {
                if !is_refused {
                    self.late.push((now + 50_000_000_000, message, key));
                }
                timed_out()
            }
            How::NotSent => rejected(0, "full"),
            How::Failed if is_refused => answer(500, ""),
            How::Failed => {
                self.act(message, key);
                answer(500, "")
            }
            How::Busy => answer(429, ""),
            // A server that honours keys does not refuse what it has done, or may do yet.
            How::Refused if is_known || !self.late.is_empty() => answer(503, ""),
            How::Refused => {
                self.refused.extend(key);
                answer(400, "")
            }
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Keyed, Kind::Asked, Kind::Neither])
}

fn how() -> impl Strategy<Value = How> {
    let all = vec![
        How::Good,
        How::ActedOnly,
        How::Lost,
        How::Late,
        How::NotSent,
        How::Failed,
        How::Busy,
        How::Refused,
    ];
    prop::sample::select(all)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (kind(), 0..4u8, 0..3u8).prop_map(|(kind, lane, host)| Event::Send { kind, lane, host }),
        3 => prop_oneof![0..5u16, 0..400u16].prop_map(|seconds| Event::Pass { seconds }),
        5 => (any::<u8>(), how()).prop_map(|(which, how)| Event::Answer { which, how }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(which, acts)| Event::Lose { which, acts }),
        1 => any::<bool>().prop_map(|act| Event::Upgrade { act }),
        1 => Just(Event::UpgradeInFlight),
    ]
}

fn now(world: &World) -> u64 {
    world.now().as_nanos()
}

fn check(events: Vec<Event>, is_told: bool) {
    let policy = Policy::new()
        .in_flight(4)
        .per_host_per_second(3)
        .max_attempts(6);
    let mut world = World::new(policy, is_told);
    let mut servers = Servers::default();
    let mut sent: BTreeMap<u64, (MessageId, Kind, u8)> = BTreeMap::new();
    let mut lanes: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    // The first attempt of each message.
    let mut first: Vec<u64> = vec![];
    let (mut told, mut has_upgraded) = (vec![], false);
    for event in events {
        match event {
            Event::Send { kind, lane, host } => {
                let message = sent.len() as u64;
                let url = format!("https://host{host}.example/{message}");
                let request = Request::post(&url).body("x").max_response_bytes(500);
                let request = match lane {
                    0 => request,
                    lane => request.lane([lane]),
                };
                let request = match kind {
                    Kind::Keyed => request,
                    Kind::Neither => request.without_idempotency_key(),
                    Kind::Asked => (request.without_idempotency_key())
                        .verify(Request::get(&url).max_response_bytes(500)),
                };
                sent.insert(message, (world.send(request).unwrap(), kind, lane));
                lanes.entry(lane).or_default().push(message);
            }
            Event::Pass { seconds } => {
                world.pass(Duration::from_secs(seconds.into()));
                servers.settle_late(now(&world), false);
            }
            Event::Answer { which, how } if world.under_way() > 0 => {
                let which = usize::from(which) % world.under_way();
                let now = now(&world);
                let answer = world.with_outcall(which, |outcall| servers.treat(outcall, how, now));
                world.answer(which, answer);
            }
            Event::Lose { which, acts } if world.under_way() > 0 => {
                let which = usize::from(which) % world.under_way();
                world.with_outcall(which, |outcall| {
                    if acts && !outcall.is_question() {
                        let key = servers.note(outcall);
                        servers.act(number(outcall), key);
                    }
                });
                world.lose(which);
            }
            Event::Upgrade { act } => {
                let now = now(&world);
                for outcall in world.upgrade() {
                    if !outcall.is_question() {
                        let key = servers.note(&outcall);
                        if act {
                            servers
                                .late
                                .push((now + 50_000_000_000, number(&outcall), key));
                        }
                    }
                }
            }
            Event::UpgradeInFlight => {
                has_upgraded = true;
                world.upgrade_in_flight();
            }
            Event::Answer { .. } | Event::Lose { .. } => {}
        }
        // What an upgrade finds under way does not count.
        assert!(world.under_way() <= 4 || has_upgraded);
        let posts = world.outcalls(|it| (!it.is_question()).then(|| number(it)));
        for message in posts.into_iter().flatten() {
            if !first.contains(&message) {
                first.push(message);
            }
        }
        told.extend(World::told());
    }
    // From now on all is well.
    for _ in 0..2_000 {
        if world.overview().waiting == 0 {
            break;
        }
        world.pass(Duration::from_secs(120));
        servers.settle_late(now(&world), true);
        while world.under_way() > 0 {
            let now = now(&world);
            let answer = world.with_outcall(0, |outcall| servers.treat(outcall, How::Good, now));
            world.answer(0, answer);
        }
    }
    assert_eq!(world.overview().waiting, 0, "something is stuck");
    world.pass(Duration::from_secs(1_000));
    told.extend(World::told());
    assert!(now(&world) - START < 80_000 * 1_000_000_000 * 10);
    let mut dead = vec![];
    for (message, (id, kind, _)) in &sent {
        let effects = servers.effects.get(message).copied().unwrap_or_default();
        assert!(effects <= 1, "{message} had {effects} effects");
        let ended = world.ended(*id).unwrap();
        match &ended.outcome {
            Outcome::Acknowledged(_) => assert_eq!(effects, 1, "{message} {kind:?}"),
            Outcome::Dead { .. } => assert_eq!(effects, 0, "{message} {kind:?}"),
            _ => {}
        }
        if ended.outcome.is_dead_letter() {
            dead.push(*id);
        }
        if let Some(keys) = servers.keys_of.get(message) {
            assert_eq!(keys.len(), 1, "{message} has {keys:?}");
        }
        let times = told.iter().filter(|ended| ended.id == *id).count();
        assert_eq!(times, usize::from(is_told), "{message}");
    }
    let all: BTreeSet<_> = servers.keys_of.values().flatten().collect();
    assert_eq!(
        all.len(),
        servers.keys_of.len(),
        "two messages have one key"
    );
    assert_eq!(world.dead_letters(), dead);
    for (lane, messages) in lanes {
        let in_order: Vec<_> = first.iter().filter(|it| messages.contains(it)).collect();
        assert!(
            lane == 0 || in_order.is_sorted(),
            "lane {lane}: {in_order:?}"
        );
    }
    assert_eq!(world.timers(), 0, "nothing is to be done");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn effects_are_what_the_outbox_says(events in prop::collection::vec(event(), 0..120), is_told: bool) {
        check(events, is_told);
    }
}
