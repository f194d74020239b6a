//! Lanes of sequence numbers and quotas: admission and the store together, as clients see them.
//!
//! Each property runs 256 sequences of up to 400 operations. For millions of them, in a few minutes:
//!
//! ```text
//! PROPTEST_CASES=20000 cargo test -p idempotency-core --lib store::tests::lanes
//! ```

mod driver;
mod model;
mod ops;
mod properties;

use crate::{
    admission::Request,
    identity::{Digest, Fingerprint, Identity, Scope},
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
    let caller = Principal::from_slice(&[caller_of(lane)]);
    let lane = u64::from(lane % LANES_OF_A_CALLER);
    Identity::of_lane("pay", &Scope::Caller, &caller, lane).unwrap()
}

fn scope_identity(caller: u8) -> Identity {
    let caller = Principal::from_slice(&[caller]);
    Identity::of_scope(&Scope::Caller, &caller).unwrap()
}

fn number_identity(lane: LaneNumber, number: u64) -> Identity {
    Identity::of_number(&lane_identity(lane), number)
}

/// The request with a number of a lane.
fn request(lane: LaneNumber, number: u64, window: u16, acked: Option<u64>, args: u8) -> Request {
    Request {
        identity: number_identity(lane, number),
        fingerprint: Fingerprint::new(Digest::of_bytes(&[args]), None, None),
        created_at: None,
        sequence: Some(Sequence {
            lane: lane_identity(lane),
            number,
            window,
            acked,
        }),
        scope: Some(scope_identity(caller_of(lane))),
    }
}
