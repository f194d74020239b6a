//! Wall time of certificates, and of queries that look at theirs or don't.

use std::time::{Duration, Instant};

use candid::Principal;
use local_replica::certification::Ranges;
use local_replica::in_process::{CanisterInstallMode, Error, InProcess};

const USER: Principal = Principal::anonymous();
/// Certificates in a measurement.
const CERTIFICATES: u32 = 100;
/// Measurements, of which the fastest counts.
const TRIES: usize = 7;

const MODULE: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "data_certificate_size" (func $size (result i32)))
    (func (export "canister_query plain") (call $reply))
    (func (export "canister_query proved") (drop (call $size)) (call $reply)))"#;

/// What one takes.
pub(crate) struct Times {
    /// A certificate for a canister's module.
    pub(crate) certificate: Duration,
    /// A query that doesn't look at its certificate.
    pub(crate) plain: Duration,
    /// A query that does.
    pub(crate) proved: Duration,
}

pub(crate) fn measure() -> Result<Times, Error> {
    let mut host = InProcess::new();
    let canister = host.create_canister(USER, 1_000_000_000_000)?;
    let wasm = wat::parse_str(MODULE).expect("valid WAT");
    let mode = CanisterInstallMode::Install;
    host.install(USER, canister, mode, wasm, Vec::new())?;
    let replica = &host.replica;
    let subnet = replica.topology.default_subnet().id;
    let path = [b"canister", canister.as_slice(), b"module_hash"];
    let certificate = fastest(|| {
        replica
            .certificate(subnet, &[path], Ranges::Sharded)?
            .sign();
        Ok(())
    })?;
    let mut query = |method| fastest(|| host.query(USER, canister, method, Vec::new()).map(drop));
    Ok(Times {
        certificate,
        plain: query("plain")?,
        proved: query("proved")?,
    })
}

fn fastest(mut action: impl FnMut() -> Result<(), Error>) -> Result<Duration, Error> {
    let mut fastest = Duration::MAX;
    for _ in 0..TRIES {
        let start = Instant::now();
        for _ in 0..CERTIFICATES {
            action()?;
        }
        fastest = fastest.min(start.elapsed() / CERTIFICATES);
    }
    Ok(fastest)
}
