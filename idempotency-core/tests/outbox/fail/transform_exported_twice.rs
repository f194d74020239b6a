//! One transform serves all outboxes of a module, and has one name.

use idempotency_core::outbox::export_transform;

export_transform!(TRANSFORM);
export_transform!(TRANSFORM);

fn main() {}
