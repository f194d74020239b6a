//! The tests: all of them, or those of a name.

use crate::steps::{Ended, Failed, Step, cargo, output};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::Instant,
};

/// All tests. With those of its package cargo builds local-replica itself.
pub(crate) fn all() -> [Step; 2] {
    [
        Step::new("build the tests", cargo("test --workspace --no-run")),
        Step::told("tests", run_all),
    ]
}

/// The tests whose names contain this; examples in the docs have no names.
pub(crate) fn named(name: String) -> Vec<Step> {
    let mut tests = cargo("test --workspace --lib --bins --tests --no-fail-fast --");
    tests.arg(&name);
    vec![
        Step::call("build the tests", move || exist(&name)),
        Step::shown("tests", tests),
    ]
}

/// That there are such tests: else a misspelled name would be a success.
fn exist(name: &str) -> Result<Ended, Failed> {
    let mut list = cargo("test --workspace --lib --bins --tests -- --list --format terse");
    list.arg(name);
    match output(&mut list)?
        .lines()
        .any(|line| line.ends_with(": test"))
    {
        true => Ok(Ended::Done),
        false => Err(Failed(format!("no test has `{name}` in its name"))),
    }
}

/// Some tests, which one command runs.
struct Program {
    what: String,
    command: Command,
}

/// Runs them all, two programs at a time: cargo would run one after the other, but one has a thread that works for minutes, and
/// another waits for clocks and sockets. More at a time would take more memory, an exploration 4 GB.
fn run_all() -> Result<Ended, Failed> {
    let mut programs = built()?;
    programs.push(Program {
        what: "examples in the docs".to_owned(),
        command: cargo("test --workspace --no-fail-fast --doc"),
    });
    let queue = Mutex::new(programs.into_iter());
    let next = || queue.lock().ok()?.next();
    let work = || {
        let mut failed = vec![];
        while let Some(program) = next() {
            failed.extend(program.run().err());
        }
        failed
    };
    let failed: Vec<_> = thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        let failed = workers.into_iter().map(|worker| worker.join());
        failed
            .map(|failed| failed.unwrap_or_else(|_| vec!["a worker panicked".to_owned()]))
            .collect::<Vec<_>>()
            .concat()
    });
    match failed.is_empty() {
        true => Ok(Ended::Done),
        false => Err(Failed(format!("these failed:\n  {}", failed.join("\n  ")))),
    }
}

impl Program {
    /// Shows what it says when it has ended: the name and the reason if it failed.
    fn run(mut self) -> Result<(), String> {
        eprintln!("     Running {}", self.what);
        let begun = Instant::now();
        let ended = self.command.stdin(Stdio::null()).output();
        let ended = ended.map_err(|error| format!("{}: {error}", self.what))?;
        eprintln!(
            "     Ran {} in {:.1} s\n{}{}",
            self.what,
            begun.elapsed().as_secs_f32(),
            String::from_utf8_lossy(&ended.stderr),
            String::from_utf8_lossy(&ended.stdout),
        );
        match ended.status.success() {
            true => Ok(()),
            false => Err(format!("{}: {}", self.what, ended.status)),
        }
    }
}

/// The programs with tests that cargo has built, in its order, each to be run as cargo would.
fn built() -> Result<Vec<Program>, Failed> {
    let mut build = cargo("test --workspace --no-run --message-format json-render-diagnostics");
    let messages = output(&mut build)?;
    let mut programs: Vec<_> = messages.lines().filter_map(of_message).collect();
    programs.sort_by(|one, other| one.what.cmp(&other.what));
    match programs.is_empty() {
        true => Err(Failed("cargo doesn't say where the tests are".to_owned())),
        false => Ok(programs),
    }
}

/// The program with tests that cargo tells of.
fn of_message(line: &str) -> Option<Program> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_test = message["profile"]["test"].as_bool()?;
    let program = PathBuf::from(message["executable"].as_str().filter(|_| is_test)?);
    let package = Path::new(message["manifest_path"].as_str()?).parent()?;
    let mut command = Command::new(&program);
    command
        .current_dir(package)
        .env("CARGO_MANIFEST_DIR", package);
    let what = format!(
        "{} of {}",
        message["target"]["name"].as_str()?,
        package.file_name()?.display(),
    );
    Some(Program { what, command })
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn programs_with_tests_are_told_from_others() {
        let message = |executable: &str, is_test: bool| {
            let message = serde_json::json!({
                "reason": "compiler-artifact",
                "manifest_path": "/here/package/Cargo.toml",
                "target": { "name": "suite" },
                "profile": { "test": is_test },
                "executable": executable,
            });
            of_message(&message.to_string())
        };
        let program = message("/target/debug/deps/suite-1", true).expect("there are tests");
        assert_eq!(program.what, "suite of package");
        assert_eq!(program.command.get_program(), "/target/debug/deps/suite-1");
        assert_eq!(
            program.command.get_current_dir(),
            Some(Path::new("/here/package"))
        );
        assert!(message("/target/debug/local-replica", false).is_none());
        assert!(of_message("{\"reason\":\"build-finished\",\"success\":true}").is_none());
        assert!(of_message("").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_fails_is_named() {
        let of = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let what = "suite of tests".to_owned();
            Program { what, command }.run()
        };
        assert_eq!(of("exit 0"), Ok(()));
        let failed = of("exit 101").expect_err("it failed");
        assert!(failed.starts_with("suite of tests: "), "{failed}");
    }
}
