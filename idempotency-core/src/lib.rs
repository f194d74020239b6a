//! idempotency-core
