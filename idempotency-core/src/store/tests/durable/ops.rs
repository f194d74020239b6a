//! What happens, as data made from bytes.

use crate::store::tests::harness::Seed;

/// So many requests there are.
pub(super) const KEYS: u8 = 10;

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// A request comes, durable or not, with an argument of so many bytes.
    Begin {
        key: u8,
        is_durable: bool,
        bytes: usize,
    },
    /// A sync request with a reply of so many bytes.
    Execute {
        bytes: usize,
    },
    /// The last attempt, or one so many before it, does something: it may be over.
    Attempt {
        key: u8,
        back: usize,
        act: Act,
    },
    /// Another attempt takes over.
    GoOn {
        key: u8,
    },
    TakeDue {
        most: usize,
    },
    /// A resolver takes over.
    Ask {
        key: u8,
    },
    /// An operator settles it; with a reply of so many bytes, or as not executed.
    Resolve {
        key: u8,
        reply: Option<usize>,
    },
    Advance {
        nanos: u64,
    },
    Timer {
        most: u32,
    },
    Reopen,
    /// From now on so many pages more are to be had.
    Limit {
        pages: u64,
    },
}

/// What an attempt does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Step {
        bytes: usize,
    },
    CutOff,
    /// The guard of a method that is not durable, or whose attempt is.
    Interrupt,
    Sleep {
        nanos: u64,
    },
    Park {
        bytes: usize,
    },
    Restart,
    Complete {
        bytes: usize,
    },
}

impl From<Seed> for Op {
    /// Zeros make the plainest operation: what shrinking strives for.
    fn from([kind, key, a, b, c, ..]: Seed) -> Self {
        const NEAR: [u64; 4] = [0, 1, 7, 100];
        let key = key % KEYS;
        let bytes = match c {
            0..=99 => usize::from(c),
            100..=229 => 160 + usize::from(c - 100),
            _ => 100 * usize::from(c - 228),
        };
        let act = |act| Self::Attempt {
            key,
            back: if b % 8 == 7 {
                usize::from(b / 8 % 4)
            } else {
                0
            },
            act,
        };
        match kind % 32 {
            0..=4 => Self::Begin {
                key,
                is_durable: a % 4 != 3,
                bytes: bytes % 2_000,
            },
            5 => Self::Execute {
                bytes: bytes % 1_000,
            },
            6..=10 => act(Act::Step { bytes }),
            11..=12 => act(Act::CutOff),
            13 => act(Act::Interrupt),
            14..=15 => act(Act::Sleep {
                nanos: NEAR[usize::from(a) % 4] * 100,
            }),
            16..=17 => act(Act::Park {
                bytes: bytes % 1_001,
            }),
            18 => act(Act::Restart),
            19..=20 => act(Act::Complete {
                bytes: bytes % 1_001,
            }),
            21..=22 => Self::GoOn { key },
            23 => Self::TakeDue {
                most: usize::from(a) % 5,
            },
            24 => Self::Ask { key },
            25 => Self::Resolve {
                key,
                reply: (a % 2 == 0).then_some(bytes % 1_100),
            },
            26..=27 => Self::Advance {
                nanos: NEAR[usize::from(a) % 4] * u64::from(b) * if a > 250 { 1 << 30 } else { 1 },
            },
            28 => Self::Timer {
                most: u32::from(a) % 5,
            },
            29..=30 => Self::Reopen,
            _ => Self::Limit {
                pages: if a % 2 == 0 { 500 } else { u64::from(a) % 12 },
            },
        }
    }
}
