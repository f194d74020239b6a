//! Without `export_transform!` there is no constant to hand over, so a transform that is missing is found when the canister is built.

use idempotency_core::outbox::Transform;

/// As `Outbox::new` does.
fn takes(_: Transform) {}

fn main() {
    takes(TRANSFORM);
}
