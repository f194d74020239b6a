//! The constant can't be had in another way: it is proof of the export.

use idempotency_core::outbox::Transform;

const TRANSFORM: Transform = Transform { name: "transform" };

fn main() {
    let _ = TRANSFORM;
}
