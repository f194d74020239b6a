//! What goes wrong between the nodes and the servers, by seed.

use std::ops::{Range, RangeInclusive};

/// How likely each fault is, between 0 and 1. They are drawn one after the other, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Odds {
    /// There is no connection: the node rejects at once, and the server sees nothing.
    pub refused: f64,
    /// The request is lost: the server sees nothing, and the node hears nothing.
    pub request_lost: f64,
    /// The server acts, and the node hears nothing.
    pub answer_lost: f64,
    /// The request arrives twice at the same time; one of the answers comes back. Together with a lost answer: it arrives twice,
    /// and no answer comes back.
    pub duplicated: f64,
}

/// A time in which other odds hold, such as that of an outage.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The calls of [`Outside::step`](super::Outside::step), counted from 0, in which outcalls that are new are met by it.
    pub steps: Range<u64>,
    /// Only requests to this authority; all, where it is `None`.
    pub authority: Option<String>,
    /// Instead of [`Plan::outcall`].
    pub odds: Odds,
}

/// What goes wrong. The default is: nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What happens to all requests of an outcall at once.
    pub outcall: Odds,
    /// What happens to the request of one node. Of 13 nodes, 4 may fail, and the outcall succeeds.
    pub node: Odds,
    /// How likely it is that the answers come late.
    pub delayed: f64,
    /// By how many calls of [`Outside::step`](super::Outside::step).
    pub delay: RangeInclusive<u64>,
    /// How likely it is that each node's answer has a `date` and an `x-request-id` of its own, as of servers behind a balancer.
    pub told_apart: f64,
    /// The first that fits holds.
    pub windows: Vec<Window>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            outcall: Odds::default(),
            node: Odds::default(),
            delayed: 0.0,
            delay: 1..=3,
            told_apart: 0.0,
            windows: Vec::new(),
        }
    }
}

/// What happens to one node's request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NodeFate {
    Refused,
    RequestLost,
    /// It arrives so many times.
    Sent {
        times: usize,
        answer_lost: bool,
    },
}

/// What happens to an outcall.
#[derive(Debug, PartialEq)]
pub(super) struct Fate {
    pub(super) nodes: Vec<NodeFate>,
    pub(super) delay: u64,
    pub(super) told_apart: bool,
    /// Which node makes the request of a non-replicated outcall.
    pub(super) first_node: usize,
}

impl Plan {
    /// The same for the same seed, outcall and step, whatever else is under way.
    pub(super) fn fate(
        &self,
        seed: u64,
        request_id: u64,
        step: u64,
        authority: &str,
        nodes: usize,
    ) -> Fate {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let mut random = fastrand::Rng::with_seed(seeds.u64(..) ^ request_id.wrapping_mul(SPREAD));
        let window = self.windows.iter().find(|window| {
            let authorities = window.authority.as_deref();
            window.steps.contains(&step) && authorities.is_none_or(|one| one == authority)
        });
        let all = window
            .map_or(self.outcall, |window| window.odds)
            .draw(&mut random);
        let delay = (random.f64() < self.delayed).then(|| random.u64(self.delay.clone()));
        Fate {
            told_apart: random.f64() < self.told_apart,
            first_node: random.usize(..super::NODES),
            delay: delay.unwrap_or(0),
            nodes: (0..nodes)
                .map(|_| all.and(self.node.draw(&mut random)))
                .collect(),
        }
    }
}

/// Neighbouring numbers become distant seeds.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Odds {
    /// Draws as often in each case, so that a change of one likelihood leaves the other decisions alone.
    fn draw(&self, random: &mut fastrand::Rng) -> NodeFate {
        let mut happens = |likelihood| random.f64() < likelihood;
        let (refused, request_lost) = (happens(self.refused), happens(self.request_lost));
        let (answer_lost, duplicated) = (happens(self.answer_lost), happens(self.duplicated));
        if refused {
            NodeFate::Refused
        } else if request_lost {
            NodeFate::RequestLost
        } else {
            NodeFate::Sent {
                times: 1 + usize::from(duplicated),
                answer_lost,
            }
        }
    }
}

impl NodeFate {
    /// Of a request that is none for a node to make, or for a server that isn't there.
    pub(super) const NOT_SENT: Self = Self::Sent {
        times: 0,
        answer_lost: false,
    };

    /// How often the request arrives.
    pub(super) fn times(self) -> usize {
        match self {
            Self::Refused | Self::RequestLost => 0,
            Self::Sent { times, .. } => times,
        }
    }

    /// Both happen: what keeps the server from seeing the request comes first.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refused, _) | (_, Self::Refused) => Self::Refused,
            (Self::RequestLost, _) | (_, Self::RequestLost) => Self::RequestLost,
            (
                Self::Sent {
                    times: one,
                    answer_lost: lost,
                },
                Self::Sent { times, answer_lost },
            ) => Self::Sent {
                times: one.max(times),
                answer_lost: lost || answer_lost,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lossy() -> Plan {
        let odds = |answer_lost| Odds {
            answer_lost,
            refused: 0.1,
            request_lost: 0.1,
            duplicated: 0.2,
        };
        Plan {
            outcall: odds(0.1),
            node: odds(0.3),
            delayed: 0.5,
            told_apart: 0.5,
            ..Plan::default()
        }
    }

    #[test]
    fn fate_is_that_of_the_seed() {
        let plan = lossy();
        let fates = |seed| -> Vec<Fate> {
            let fate = |id| plan.fate(seed, id, 0, "a.example", 13);
            (0..50).map(fate).collect()
        };
        assert_eq!(fates(7), fates(7));
        assert_ne!(fates(7), fates(8));
        let first = &fates(7)[0];
        assert!(fates(7).iter().skip(1).all(|fate| fate != first));
    }

    #[test]
    fn faults_are_as_frequent_as_the_odds() {
        let plan = Plan {
            node: Odds {
                answer_lost: 0.3,
                ..Odds::default()
            },
            ..Plan::default()
        };
        let lost = |fate: &NodeFate| {
            matches!(
                fate,
                NodeFate::Sent {
                    answer_lost: true,
                    ..
                }
            )
        };
        let all = (0..1_000).flat_map(|id| plan.fate(1, id, 0, "a.example", 13).nodes);
        let count = all.filter(lost).count();
        assert!((3_600..4_200).contains(&count), "{count} of 13000");
    }

    #[test]
    fn window_holds_while_it_is_open_and_for_its_authority() {
        let plan = Plan {
            windows: vec![Window {
                steps: 2..4,
                authority: Some("a.example".to_owned()),
                odds: Odds {
                    refused: 1.0,
                    ..Odds::default()
                },
            }],
            ..Plan::default()
        };
        let refused = |step, authority| {
            let fate = plan.fate(1, 1, step, authority, 1);
            fate.nodes == [NodeFate::Refused]
        };
        let steps: Vec<u64> = (0..6).filter(|step| refused(*step, "a.example")).collect();
        assert_eq!(steps, [2, 3]);
        assert!(!refused(2, "b.example"));
    }
}
