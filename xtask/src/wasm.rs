//! The canisters: their target, their build, and where their modules go.

use crate::{
    steps::{self, Ended, Failed, Step, cargo},
    target_directory,
};
use std::{fs, path::PathBuf, process::Command};

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Package, and the name of its module.
pub(crate) type Package = (&'static str, &'static str);

const LEDGER: Package = ("example-ledger", "ledger");

/// What the tests and the demo run.
pub(crate) const PACKAGES: [Package; 10] = [
    LEDGER,
    ("idempotency-archive-canister", "archive"),
    ("example-mail", "mail"),
    ("example-payout", "payout"),
    ("archived-canister", "archived_canister"),
    ("test-canister", "test_canister"),
    ("durable-canister", "durable_canister"),
    ("caller-canister", "caller"),
    ("outbox-canister", "outbox_canister"),
    ("withdraw-canister", "withdraw_canister"),
];

/// What the benchmarks run with the library's default features.
pub(crate) const MEASURED: [Package; 3] = [
    ("bench-canister", "bench_canister"),
    ("guarded-canister", "guarded_canister"),
    ("plain-canister", "plain_canister"),
];

/// What the benchmarks run, with outboxes. Cargo unites the features of what it builds at once, and those above are measured without.
pub(crate) const MEASURED_OUTBOXES: [Package; 2] = [
    ("bench-outbox", "bench_outbox"),
    ("sending-canister", "sending_canister"),
];

/// What the benchmarks run, with archives: also of them those above are measured without.
pub(crate) const MEASURED_ARCHIVES: [Package; 5] = [
    LEDGER,
    ("idempotency-archive-canister", "archive"),
    ("archived-canister", "archived_canister"),
    ("bench-archive", "bench_archive"),
    ("bench-filters", "bench_filters"),
];

/// Where the modules are put.
fn directory() -> PathBuf {
    target_directory().join("canisters")
}

/// The options of cargo that select the packages.
pub(crate) fn selection(packages: &[Package]) -> String {
    let options = packages
        .iter()
        .map(|(package, _)| format!("--package {package}"));
    options.collect::<Vec<_>>().join(" ")
}

/// Builds the canisters that tests and demo run, and says where they are.
pub(crate) fn build() -> Result<(), Failed> {
    steps::run(steps(&PACKAGES)?)?;
    println!("the canisters are in {}", directory().display());
    Ok(())
}

/// What it takes to build the canisters here.
pub(crate) fn steps(packages: &'static [Package]) -> Result<Vec<Step>, Failed> {
    let build = cargo(&format!(
        "build {} --lib --target {TARGET} --profile canister",
        selection(packages)
    ));
    let mut steps = vec![];
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if !has_target(Command::new(rustc))? {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", TARGET]);
        steps.push(Step::new("add the wasm32 target", rustup));
    }
    steps.push(Step::new("build the canisters", build));
    steps.push(Step::call("collect the canisters", || collect(packages)));
    Ok(steps)
}

/// Whether a compiler can build for the target.
pub(crate) fn has_target(mut rustc: Command) -> Result<bool, Failed> {
    let output = rustc
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| {
            Failed(format!(
                "rustc can't be run: {error}; install Rust with rustup"
            ))
        })?;
    let directory = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && PathBuf::from(directory.trim()).is_dir())
}

fn collect(packages: &[Package]) -> Result<Ended, Failed> {
    let failed =
        |error: std::io::Error| Failed(format!("the canisters can't be collected: {error}"));
    fs::create_dir_all(directory()).map_err(failed)?;
    for (package, name) in packages {
        let built = format!("{TARGET}/canister/{}.wasm", package.replace('-', "_"));
        fs::copy(
            target_directory().join(built),
            directory().join(format!("{name}.wasm")),
        )
        .map_err(failed)?;
    }
    Ok(Ended::Done)
}
