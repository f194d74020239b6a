//! What the library adds to a canister's module.

use crate::{Failure, results::Results};
use flate2::{Compression, write::GzEncoder};
use integration_tests::{GUARDED_CANISTER, PLAIN_CANISTER, SENDING_CANISTER, Wasm};
use std::io::Write;

/// Of the same method with the attribute and without it, and with an outbox besides. It does not depend on what the replica does, and
/// holds no requests.
pub(crate) fn added(results: &mut Results) -> Result<(), Failure> {
    for (benchmark, with, without) in [
        ("wasm/added_gzipped", GUARDED_CANISTER, PLAIN_CANISTER),
        (
            "wasm/outbox_added_gzipped",
            SENDING_CANISTER,
            GUARDED_CANISTER,
        ),
    ] {
        let added = gzipped(with)?.saturating_sub(gzipped(without)?);
        results.add(benchmark, 0, added, added, None);
    }
    Ok(())
}

/// The bytes of a module as it is uploaded.
fn gzipped(canister: Wasm) -> Result<u64, Failure> {
    let mut encoder = GzEncoder::new(vec![], Compression::best());
    encoder.write_all(&canister.read())?;
    Ok(encoder.finish()?.len() as u64)
}
