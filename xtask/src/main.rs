//! The project's chores: `cargo xtask wasm`, `demo`, `test` and `bench`. Each does its own set-up.
#![forbid(unsafe_code)]

mod steps;
mod wasm;

use clap::{Parser, Subcommand};
use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};
use steps::{Failed, Step, cargo};

#[derive(Parser)]
#[command(about = "The project's chores. Each does its own set-up.")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Clone, Copy, Subcommand)]
enum Chore {
    /// Builds the canisters into `target/canisters`.
    Wasm,
    /// Tells the story of a payment with lost answers, on a replica.
    Demo,
    /// Format, lints, docs and all tests.
    Test,
    /// Measures the store against others, and whole calls, on a replica.
    Bench {
        /// Up to 100,000 entries instead of 10,000,000.
        #[arg(long)]
        quick: bool,
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
    let mut chores = match chore {
        Chore::Bench { .. } => wasm::steps(&wasm::MEASURED)?,
        Chore::Wasm | Chore::Demo | Chore::Test => wasm::steps(&wasm::PACKAGES)?,
    };
    match chore {
        Chore::Wasm => {}
        Chore::Demo => chores.extend(demo()),
        Chore::Test => chores.extend(test()),
        Chore::Bench { quick } => chores.extend(bench(quick)),
    }
    steps::run(chores)?;
    if matches!(chore, Chore::Wasm) {
        println!("the canisters are in {}", wasm::directory().display());
    }
    Ok(())
}

fn demo() -> Vec<Step> {
    let mut steps = replica();
    steps.push(Step::new(
        "build the demo",
        cargo("build --workspace --bin demo"),
    ));
    steps.push(Step::shown("the demo", built("demo")));
    steps
}

fn bench(quick: bool) -> Vec<Step> {
    let mut steps = replica();
    steps.push(Step::new(
        "build the benchmarks",
        cargo("build --workspace --bin bench-runner"),
    ));
    let mut runner = built("bench-runner");
    runner.args(quick.then_some("--quick"));
    steps.push(Step::shown("the benchmarks", runner));
    steps
}

fn test() -> Vec<Step> {
    let canisters = wasm::selection(&[&wasm::PACKAGES[..], &[wasm::BENCH_CANISTER]].concat());
    let lint = |what: &str, selection: &str| {
        Step::new(
            what,
            cargo(&format!("clippy {selection} -- --deny warnings")),
        )
    };
    let mut steps = vec![
        Step::new("format", cargo("fmt --all --check")),
        lint("lints", "--workspace --all-targets"),
        lint(
            "lints, as canisters",
            &format!("{canisters} --target {}", wasm::TARGET),
        ),
        lint(
            "lints, without timers",
            "--package idempotency-core --all-targets --no-default-features",
        ),
        Step::new(
            "docs",
            cargo("doc --workspace --no-deps --document-private-items"),
        )
        .with_env("RUSTDOCFLAGS", "--deny warnings"),
    ];
    // With the tests of its package cargo builds local-replica itself.
    steps.push(Step::new(
        "build the tests",
        cargo("test --workspace --no-run"),
    ));
    steps.push(Step::shown(
        "tests",
        cargo("test --workspace --no-fail-fast"),
    ));
    steps
}

/// local-replica is needed unless another one is asked for: the rule itself is in `tests/src/replica.rs`.
fn replica() -> Vec<Step> {
    let other = env::var_os("POCKET_IC_BIN").is_some()
        || env::var_os("IDEMPOTENCY_REPLICA").is_some_and(|replica| replica == "pocket-ic");
    match other {
        true => vec![],
        false => vec![Step::new(
            "build local-replica",
            cargo("build --workspace --bin local-replica"),
        )],
    }
}

/// A binary that was built with the features of the whole workspace: built by its package alone, it would have all that it
/// depends on built again, the Wasm engine above all.
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
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => env::current_dir().unwrap_or(workspace).join(directory),
        None => workspace.canonicalize().unwrap_or(workspace).join("target"),
    }
}
