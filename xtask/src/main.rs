//! The project's chores: `cargo xtask wasm`, `demo`, `test`, `bench`, `docs`, `deny` and `mutants`. Each does its own set-up.
#![forbid(unsafe_code)]

mod checks;
mod docs;
mod mutants;
mod steps;
mod tests;
mod tools;
mod wasm;

use clap::{Parser, Subcommand};
use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};
use steps::{Failed, ROOT, Step, cargo};

#[derive(Parser)]
#[command(about = "The project's chores. Each does its own set-up.")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds the canisters into `target/canisters`.
    Wasm,
    /// Tells the story of a payment with lost answers, on a replica.
    Demo,
    /// All that must hold before a change goes in: format, lints, docs, licences, packages and all tests.
    Test {
        /// Only the tests whose names contain this, and nothing else.
        name: Option<String>,
    },
    /// Measures the store against others, and whole calls, on a replica.
    Bench {
        /// Up to 100,000 entries instead of 10,000,000.
        #[arg(long)]
        quick: bool,
        /// The filters that archived ids could be in, and nothing else.
        #[arg(long, conflicts_with = "quick")]
        filters: bool,
    },
    /// Builds the API docs, and the book into `target/book`; checks the links.
    Docs,
    /// Checks licences, sources and known vulnerabilities of what we depend on.
    Deny,
    /// Breaks the library on purpose, one place at a time, in a copy; its tests must find each breakage.
    Mutants {
        /// Only the breakages whose names contain one of these.
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(why)) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<(), Failed> {
    let steps = match chore {
        Chore::Wasm => return wasm::build(),
        Chore::Demo => after(&wasm::PACKAGES, demo())?,
        Chore::Test { name: None } => after(&wasm::PACKAGES, checks::all())?,
        Chore::Test { name: Some(name) } => after(&wasm::PACKAGES, tests::named(name))?,
        Chore::Bench { filters: true, .. } => {
            after(&wasm::MEASURED_ARCHIVES, bench(Some("--filters")))?
        }
        Chore::Bench { quick, .. } => {
            let steps = bench(quick.then_some("--quick"));
            let with_archives = after(&wasm::MEASURED_ARCHIVES, steps)?;
            let with_outboxes = after(&wasm::MEASURED_OUTBOXES, with_archives)?;
            after(&wasm::MEASURED, with_outboxes)?
        }
        Chore::Docs => docs::steps(),
        Chore::Mutants { names } => return mutants::run(&names),
        Chore::Deny => return steps::run_strictly(vec![checks::deny()]),
    };
    steps::run(steps).map(drop)
}

/// Steps that need canisters.
fn after(canisters: &'static [wasm::Package], steps: Vec<Step>) -> Result<Vec<Step>, Failed> {
    let mut all = wasm::steps(canisters)?;
    all.extend(steps);
    Ok(all)
}

fn demo() -> Vec<Step> {
    vec![
        Step::new("build the demo", build("demo")),
        Step::shown("the demo", built("demo")),
    ]
}

fn bench(option: Option<&str>) -> Vec<Step> {
    let mut runner = built("bench-runner");
    runner.args(option);
    vec![
        Step::new("build the benchmarks", build("bench-runner")),
        Step::shown("the benchmarks", runner),
    ]
}

/// Builds a binary, and the replica it talks to unless another one is asked for: the rule itself is in `tests/src/replica.rs`.
///
/// Cargo unites the features of what it builds, and counts those of dev-dependencies only if there is a test or an example
/// among it. Without an example here, the tests would have the Wasm engine built again, with a feature more.
fn build(binary: &str) -> Command {
    let other = env::var_os("POCKET_IC_BIN").is_some()
        || env::var_os("IDEMPOTENCY_REPLICA").is_some_and(|replica| replica == "pocket-ic");
    let mut command = cargo(&format!("build --workspace --bin {binary} --example speed"));
    if !other {
        command.args(["--bin", "local-replica"]);
    }
    command
}

/// A binary that `build` built.
fn built(binary: &str) -> Command {
    let path = target_directory().join("debug").join(binary);
    let mut command = Command::new(path.with_extension(env::consts::EXE_EXTENSION));
    // As `.cargo/config.toml` has it for what cargo runs.
    if env::var_os("POCKET_IC_MUTE_SERVER").is_none() {
        command.env("POCKET_IC_MUTE_SERVER", "1");
    }
    command
}

/// Where cargo puts what it builds.
fn target_directory() -> PathBuf {
    let workspace = PathBuf::from(ROOT);
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => env::current_dir().unwrap_or(workspace).join(directory),
        None => workspace.canonicalize().unwrap_or(workspace).join("target"),
    }
}
