//! Lanes of sequence numbers and quotas: admission and the store together, as clients see them.
//!
//! Each property runs 256 sequences of up to 400 operations. For millions of them, in a few minutes:
//!
//! ```text
//! PROPTEST_CASES=20000 cargo test -p idempotency-core --lib store::tests::lanes
//! ```

mod adversary;
mod charges;
mod damaged;
mod driver;
mod floor;
mod in_lane;
mod model;
mod ops;
mod properties;
mod quota_cases;
mod quotas;
mod stuck;

use super::harness::fingerprint;
use crate::{
    admission::Request,
    identity::{Identity, LaneKey, Scope},
    sequence::Sequence,
};
use candid::Principal;

/// A lane of one caller, numbered through: each caller has [`LANES_OF_A_CALLER`].
type LaneNumber = u8;

const LANES_OF_A_CALLER: u8 = 2;

fn caller_of(lane: LaneNumber) -> u8 {
    lane / LANES_OF_A_CALLER
}

fn lane_identity(lane: LaneNumber) -> Identity {
    lane_of(caller_of(lane), u64::from(lane % LANES_OF_A_CALLER))
}

pub(super) fn lane_of(caller: u8, lane: u64) -> Identity {
    let caller = Principal::from_slice(&[caller]);
    Identity::of_lane("pay", &Scope::Caller, &caller, &LaneKey::of(&lane)).unwrap()
}

fn scope_identity(caller: u8) -> Identity {
    scope_identity_of(caller.into())
}

pub(super) fn scope_identity_of(caller: u64) -> Identity {
    let caller = Principal::from_slice(&caller.to_le_bytes());
    Identity::of_scope("pay", &Scope::Caller, &caller).unwrap()
}

/// The caller's request with this place in a lane.
fn request(caller: u8, sequence: Sequence, args: u8) -> Request {
    Request {
        identity: Identity::of_number(&sequence.lane, sequence.number),
        fingerprint: fingerprint(args, None),
        created_at: None,
        sequence: Some(sequence),
        scope: Some(scope_identity(caller)),
    }
}
