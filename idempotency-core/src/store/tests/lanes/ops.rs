//! What happens to a store with lanes, as data made from bytes.

use super::{LANES_OF_A_CALLER, LaneNumber};
use crate::{policy::Policy, store::tests::harness::Seed};
use std::time::Duration;

pub(super) const CALLERS: u8 = 4;
pub(super) const LANES: u8 = CALLERS * LANES_OF_A_CALLER;
pub(super) const MAX_REPLY_BYTES: u32 = 300;
const DRIFT: u64 = 10;

/// What a canister says of its store and its endpoints; an upgrade may say something else.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) policy: Policy,
    windows: [u16; 3],
}

impl Config {
    pub(super) fn new(policy: Policy, window: u16) -> Self {
        let windows = [window; 3];
        Self { policy, windows }
    }

    pub(super) fn window(&self, lane: LaneNumber) -> u16 {
        self.windows[usize::from(lane) % self.windows.len()]
    }
}

impl From<Seed> for Config {
    fn from([scopes, idle, flags, a, b, c, window, capacity]: Seed) -> Self {
        const WINDOWS: [u16; 8] = [1, 1, 2, 3, 4, 64, 65, 1_024];
        let policy = Policy::new()
            .window(Duration::from_nanos(
                [100, 100, 40, 900][usize::from(window) % 4],
            ))
            .drift(Duration::from_nanos(DRIFT))
            .capacity([1_000, 12, 40, 100][usize::from(capacity) % 4])
            .capacity_bytes([1_000_000, 30_000][usize::from(capacity) / 4 % 2])
            .max_reply_bytes(MAX_REPLY_BYTES)
            .max_counters([100, 4, 6, 9][usize::from(scopes) % 4])
            .counter_idle(Duration::from_nanos(
                [0, 300, 1_000, 20_000][usize::from(idle) % 4],
            ));
        let policy = match flags % 4 {
            0 => policy,
            1 => policy.evict_idle_counters(),
            2 => policy.quota(6, 2_000),
            _ => policy.evict_idle_counters().quota(20, 3_000),
        };
        Self {
            policy,
            windows: [a, b, c].map(|window| WINDOWS[usize::from(window) % WINDOWS.len()]),
        }
    }
}

/// Which number a client sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    /// So far from the one with which the lane goes on.
    Next(i64),
    /// The one that was sent so many requests before: a retry, or a copy that was under way for long.
    Sent(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// It ends in the same message, with a reply.
    Sync,
    /// It goes on after the message.
    Async,
    /// It did nothing and is forgotten in the same message.
    Released,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Reply(usize),
    /// Its reply is too long to be held.
    NoReply,
    Interrupt,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Submit {
        lane: LaneNumber,
        number: Number,
        args: u8,
        run: Run,
        reply_bytes: usize,
        /// All numbers below one that is so far from the next were received.
        first_incomplete: Option<i64>,
    },
    /// Ends the running attempt that comes so late among those.
    End {
        nth: usize,
        end: End,
    },
    /// An operator settles the number that is so far from the next.
    Free {
        lane: LaneNumber,
        offset: i64,
    },
    Advance {
        nanos: u64,
    },
    Timer {
        most: u32,
    },
    Upgrade(Config),
    /// From now on so many pages more are to be had.
    Limit {
        pages: u64,
    },
}

impl From<Seed> for Op {
    /// Zeros make the plainest operation: what shrinking strives for.
    fn from(seed: Seed) -> Self {
        let [kind, lane, place, a, b, run, reply, first_incomplete] = seed;
        let reply_bytes = 8 + if reply < 200 {
            usize::from(reply) % 60
        } else {
            usize::from(reply)
        };
        match kind % 32 {
            0..=17 => Self::Submit {
                lane: lane % LANES,
                number: match place % 8 {
                    0..=2 => Number::Next(0),
                    3 => Number::Next(i64::from(a % 5)),
                    4 => Number::Next(5 * i64::from(a) - 100),
                    5..=6 => Number::Sent(usize::from(a) % 8),
                    _ => Number::Sent(usize::from(u16::from_le_bytes([a, b]))),
                },
                args: u8::from(b == u8::MAX),
                run: match run % 8 {
                    0..=4 => Run::Sync,
                    5..=6 => Run::Async,
                    _ => Run::Released,
                },
                reply_bytes,
                first_incomplete: match first_incomplete % 8 {
                    0..=3 => None,
                    4..=6 => Some(-i64::from(first_incomplete / 64)),
                    _ => Some(i64::from(first_incomplete)),
                },
            },
            18 => Self::Free {
                lane: lane % LANES,
                offset: i64::from(a % 8 / 6) - i64::from(b % 8 / 7),
            },
            19..=22 => Self::End {
                nth: usize::from(a),
                end: match b % 8 {
                    0..=5 => End::Reply(reply_bytes),
                    6 => End::NoReply,
                    _ => End::Interrupt,
                },
            },
            23..=27 => Self::Advance {
                nanos: match lane % 8 {
                    0..=3 => u64::from(a % 8),
                    4..=5 => u64::from(a),
                    6 => 4 * u64::from(a),
                    _ => 100 * u64::from(a),
                },
            },
            28 => Self::Timer {
                most: u32::from(a) % 5,
            },
            29 => {
                let [_, config @ ..] = seed;
                let mut bytes = [0; 8];
                bytes[..7].copy_from_slice(&config);
                Self::Upgrade(bytes.into())
            }
            30 => Self::Limit {
                pages: u64::from(a) % 12,
            },
            _ => Self::Limit { pages: 500 },
        }
    }
}
