//! The tests: all of them, or those of a name.

use crate::steps::{Ended, Failed, Step, cargo, output};

/// All tests. With those of its package cargo builds local-replica itself.
pub(crate) fn all() -> [Step; 2] {
    [
        Step::new("build the tests", cargo("test --workspace --no-run")),
        Step::shown("tests", cargo("test --workspace --no-fail-fast")),
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
