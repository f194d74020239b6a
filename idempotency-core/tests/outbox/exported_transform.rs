//! The transform is exported in one line, in a crate that forbids unsafe code and warns of all that is not documented.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub)]

use idempotency_core::outbox::{Transform, export_transform};

export_transform!(TRANSFORM);

/// As an outbox takes it.
fn takes(_: Transform) {}

fn main() {
    takes(TRANSFORM);
    takes(TRANSFORM);
}
