//! Any bytes where an outbox reads its own, or what servers, the IC and users wrote: it refuses them, or writes them again as they were.

#![no_main]

use idempotency_core::outbox::__reads_any_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| assert!(__reads_any_bytes(bytes)));
