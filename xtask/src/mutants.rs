//! Breaks the libraries on purpose, one place at a time, in a copy, and has their tests find each breakage.
//!
//! The breakages are chosen by hand: each is the absence of something that a promise depends on. Where a tool that makes mutations by
//! itself, as cargo-mutants does, tells of lines that no test looks at, this tells whether the promises are tested.

mod agent;
mod archives;
mod list;
mod outbox;
mod receiver;

use crate::{
    steps::{Failed, ROOT, cargo, output},
    target_directory,
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Tests that take longer hang. Those that are named in the list take seconds.
const LONGEST: Duration = Duration::from_secs(300);

/// A package, and how it can be broken.
struct Package {
    /// Its name, and that of its directory.
    name: &'static str,
    /// Which of its tests are run, as cargo is told it: they are one program.
    tests: &'static str,
    breakages: &'static [&'static [Mutant]],
}

const PACKAGES: [Package; 4] = [
    Package {
        name: "idempotency-core",
        tests: "--features archive,outbox --lib",
        breakages: &[list::ALL, outbox::ALL, archives::MAIN],
    },
    Package {
        name: "idempotency-archive",
        tests: "--lib",
        breakages: &[archives::ARCHIVE],
    },
    Package {
        name: "idempotency-receiver",
        tests: "--features sqlite --test suite",
        breakages: &[receiver::ALL],
    },
    Package {
        name: "idempotency-agent",
        tests: "--lib",
        breakages: &[agent::ALL],
    },
];

/// A breakage.
struct Mutant {
    /// What is broken.
    name: &'static str,
    /// Where: a file below the package's `src`.
    file: &'static str,
    /// What is there, once.
    text: &'static str,
    /// What is put in its place.
    instead: &'static str,
    /// What would happen to users if nobody noticed.
    harm: &'static str,
    /// Parts of names of the package's tests. Of each, one test at least must fail.
    tests: &'static [&'static str],
}

/// What the tests say.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// These tests failed.
    Failed(Vec<String>),
    /// They had not ended after so long.
    Hung,
    /// They ended in another way: by an abort, say.
    Crashed(ExitStatus),
}

/// Makes the breakages with one of these in their names, or all, and prints which tests found each.
///
/// # Errors
/// If one was not found, or could not be made.
pub(crate) fn run(names: &[String]) -> Result<(), Failed> {
    let is_named = |mutant: &Mutant| names.iter().any(|name| mutant.name.contains(name));
    let is_chosen = |mutant: &&Mutant| names.is_empty() || is_named(mutant);
    let chosen = PACKAGES.each_ref().map(|package| {
        let mutants: Vec<_> = package.mutants().filter(is_chosen).collect();
        (package, mutants)
    });
    let all: usize = chosen.iter().map(|(_, mutants)| mutants.len()).sum();
    if all == 0 {
        let names = names.join("` or `");
        return Err(Failed(format!("no breakage has `{names}` in its name")));
    }
    let begun = Instant::now();
    let copy = Copy::make()?;
    eprintln!("the tests are built in {} ...", copy.sources.display());
    let mut missed = vec![];
    for (package, mutants) in chosen.iter().filter(|(_, mutants)| !mutants.is_empty()) {
        missed.extend(copy.missed(package, mutants)?);
    }
    match missed.is_empty() {
        true => {
            println!("each of {all} breakages was found, in {}", time(begun));
            Ok(())
        }
        false => Err(Failed(format!(
            "{} of {all} breakages were not found as they should be:\n  {}",
            missed.len(),
            missed.join("\n  ")
        ))),
    }
}

/// The names of the first few, and how many more there are.
fn some_of(tests: &[String]) -> String {
    const FEW: usize = 2;
    match tests.len() {
        0 => "no test fails".to_owned(),
        1..=FEW => tests.join(", "),
        all => format!("{} and {} more", tests[..FEW].join(", "), all - FEW),
    }
}

fn time(begun: Instant) -> String {
    format!("{:.1} s", begun.elapsed().as_secs_f32())
}

impl Mutant {
    /// The file's content with the breakage.
    fn applied(&self, content: &str) -> Result<String, Failed> {
        match content.matches(self.text).count() {
            1 => Ok(content.replacen(self.text, self.instead, 1)),
            times => Err(Failed(format!(
                "{}: what it replaces is {times} times in {}, and should be once",
                self.name, self.file
            ))),
        }
    }

    fn is_found_by(&self, failed: &[String]) -> bool {
        let is_found = |part: &&str| failed.iter().any(|test| test.contains(part));
        self.tests.iter().all(is_found)
    }
}

impl Package {
    fn mutants(&self) -> impl Iterator<Item = &'static Mutant> {
        self.breakages.iter().copied().flatten()
    }

    fn path(&self, root: &Path, mutant: &Mutant) -> PathBuf {
        root.join(self.name).join("src").join(mutant.file)
    }
}

/// A copy of the workspace, with what is built of it beside it.
struct Copy {
    sources: PathBuf,
    target: PathBuf,
}

impl Copy {
    /// Copies the workspace as it is now, whether it is committed or not.
    fn make() -> Result<Self, Failed> {
        let directory = target_directory().join("mutants");
        let copy = Self {
            sources: directory.join("sources"),
            target: directory.join("target"),
        };
        if copy.sources.exists() {
            fs::remove_dir_all(&copy.sources).map_err(not_copied)?;
        }
        copy_directory(Path::new(ROOT), &copy.sources).map_err(not_copied)?;
        Ok(copy)
    }

    /// Makes breakages of a package, and prints which tests found each. What to say of those that none did.
    fn missed(&self, package: &Package, mutants: &[&Mutant]) -> Result<Vec<String>, Failed> {
        let begun = Instant::now();
        self.check_unbroken(package, mutants)?;
        let name = package.name;
        println!(
            "{name} without a breakage: all tests pass, after {}",
            time(begun)
        );
        let mut missed = vec![];
        for mutant in mutants {
            let begun = Instant::now();
            let (found, by) = match self.broken(package, mutant)? {
                Err(Failed(why)) => (false, format!("not built: {why}")),
                Ok(Verdict::Hung) => (false, format!("not ended after {LONGEST:?}")),
                Ok(Verdict::Crashed(status)) => (false, format!("not ended as tests do: {status}")),
                Ok(Verdict::Failed(tests)) => (mutant.is_found_by(&tests), some_of(&tests)),
            };
            let verdict = if found { "found" } else { "NOT FOUND" };
            println!("{verdict:9}  {:60}  {:>6}  {by}", mutant.name, time(begun));
            if !found {
                let Mutant {
                    name, harm, tests, ..
                } = mutant;
                missed.push(format!(
                    "{name}: {harm}; it should be found by {}",
                    tests.join(" and ")
                ));
            }
        }
        Ok(missed)
    }

    /// Builds a package's tests. Where the program is.
    fn build(&self, package: &Package) -> Result<PathBuf, Failed> {
        let Package { name, tests, .. } = package;
        let mut build = cargo(&format!(
            "test --package {name} {tests} --no-run --message-format json-render-diagnostics"
        ));
        build.current_dir(&self.sources);
        build.env("CARGO_TARGET_DIR", &self.target);
        let messages = output(&mut build)?;
        let mut programs = messages.lines().filter_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            message["executable"].as_str().map(PathBuf::from)
        });
        let program = programs.next_back();
        program.ok_or_else(|| Failed("cargo doesn't say where the tests are".to_owned()))
    }

    /// Whether the tests are there that are to find the breakages, and pass.
    fn check_unbroken(&self, package: &Package, mutants: &[&Mutant]) -> Result<(), Failed> {
        let program = self.build(package)?;
        let tests: Vec<_> = mutants.iter().flat_map(|it| it.tests).copied().collect();
        let mut list = Command::new(&program);
        let list = output(list.args(["--list", "--format", "terse"]))?;
        if let Some(missing) = tests.iter().find(|part| !list.contains(**part)) {
            return Err(Failed(format!("there is no test `{missing}`")));
        }
        match self.run(package, &program, &tests)? {
            Verdict::Failed(failed) if failed.is_empty() => Ok(()),
            verdict => Err(Failed(format!(
                "the tests fail without any breakage: {verdict:?}"
            ))),
        }
    }

    /// What the tests say of a breakage; an error if it does not compile.
    fn broken(
        &self,
        package: &Package,
        mutant: &Mutant,
    ) -> Result<Result<Verdict, Failed>, Failed> {
        let path = package.path(&self.sources, mutant);
        let content = fs::read_to_string(&path).map_err(not_copied)?;
        fs::write(&path, mutant.applied(&content)?).map_err(not_copied)?;
        let verdict = match self.build(package) {
            Ok(program) => Ok(self.run(package, &program, mutant.tests)?),
            Err(failed) => Err(failed),
        };
        fs::write(&path, content).map_err(not_copied)?;
        Ok(verdict)
    }

    fn run(&self, package: &Package, program: &Path, tests: &[&str]) -> Result<Verdict, Failed> {
        let mut command = Command::new(program);
        command
            .args(tests)
            .current_dir(self.sources.join(package.name));
        verdict(&mut command, &self.target.join("output"), LONGEST)
    }
}

fn not_copied(error: io::Error) -> Failed {
    Failed(format!("the sources can't be copied or changed: {error}"))
}

/// All but what is built and the history.
fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_left_out = name == "target" || name == ".git" || path == target_directory();
        if is_left_out {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => copy_directory(&path, &to.join(name))?,
            false => fs::copy(&path, to.join(name)).map(drop)?,
        }
    }
    Ok(())
}

/// Runs tests, for no longer than `longest`. What they say passes through a file: there may be more of it than a pipe holds.
fn verdict(command: &mut Command, said: &Path, longest: Duration) -> Result<Verdict, Failed> {
    let failed = |error: io::Error| Failed(format!("the tests can't be run: {error}"));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(File::create(said).map_err(failed)?);
    let mut tests = command.spawn().map_err(failed)?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = tests.try_wait().map_err(failed)? {
            break status;
        }
        if begun.elapsed() > longest {
            tests.kill().and_then(|()| tests.wait()).map_err(failed)?;
            return Ok(Verdict::Hung);
        }
        thread::sleep(Duration::from_millis(20));
    };
    let said = fs::read(said).map_err(failed)?;
    let failed = failed_tests(&String::from_utf8_lossy(&said));
    Ok(match status.success() == failed.is_empty() {
        true => Verdict::Failed(failed),
        false => Verdict::Crashed(status),
    })
}

/// The names of the tests that failed, as the test harness tells them.
fn failed_tests(said: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
        (result == "FAILED").then(|| name.to_owned())
    };
    said.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So that the list does not rot: a change of the library that moves such a place changes the list, too.
    #[test]
    fn each_breakage_can_be_made() {
        let all = || PACKAGES.iter().flat_map(Package::mutants);
        for package in &PACKAGES {
            for mutant in package.mutants() {
                let content = fs::read_to_string(package.path(Path::new(ROOT), mutant))
                    .unwrap_or_else(|error| panic!("{}: {error}", mutant.file));
                let broken = mutant
                    .applied(&content)
                    .unwrap_or_else(|Failed(why)| panic!("{why}"));
                assert_ne!(broken, content, "{}", mutant.name);
                assert!(!mutant.tests.is_empty(), "{}", mutant.name);
                let same_name = all().filter(|other| other.name == mutant.name);
                assert_eq!(same_name.count(), 1, "{}", mutant.name);
            }
        }
    }

    #[test]
    fn a_breakage_is_found_if_each_of_its_tests_fails() {
        let mutant = Mutant {
            tests: &["a::", "b::second"],
            ..ANY
        };
        let is_found = |failed: &[&str]| {
            mutant.is_found_by(&failed.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
        };
        assert!(is_found(&["a::first", "b::second"]));
        assert!(!is_found(&["a::first", "a::second", "b::first"]));
        assert!(!is_found(&[]));
    }

    #[test]
    fn what_is_replaced_must_be_there_once() {
        assert_eq!(ANY.applied("a b c").ok().as_deref(), Some("a x c"));
        assert!(ANY.applied("a b b").is_err());
        assert!(ANY.applied("a c").is_err());
    }

    const ANY: Mutant = Mutant {
        name: "any",
        file: "lib.rs",
        text: "b",
        instead: "x",
        harm: "none",
        tests: &["test"],
    };

    #[test]
    fn failing_tests_are_told_from_others() {
        let said = "test a ... ok\ntest b::c - should panic ... FAILED\ntest d ... ignored\n\nfailures:\n    b::c\n";
        assert_eq!(failed_tests(said), ["b::c - should panic"]);
        assert_eq!(failed_tests(""), [""; 0]);
    }

    #[test]
    fn a_few_tests_are_named() {
        let names: Vec<_> = ["a", "b", "c", "d"].map(str::to_owned).into();
        assert_eq!(some_of(&[]), "no test fails");
        assert_eq!(some_of(&names[..2]), "a, b");
        assert_eq!(some_of(&names), "a, b and 2 more");
    }

    #[cfg(unix)]
    #[test]
    fn what_hangs_or_crashes_has_found_nothing() {
        let said = target_directory().join("xtask-verdict");
        let of = |script: &str, longest| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            verdict(&mut command, &said, longest).map_err(|Failed(why)| why)
        };
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
        assert_eq!(of("exec sleep 100", short), Ok(Verdict::Hung));
        let failed = of("echo 'test a ... FAILED'; exit 101", long);
        assert_eq!(failed, Ok(Verdict::Failed(vec!["a".to_owned()])));
        assert_eq!(of("exit 0", long), Ok(Verdict::Failed(vec![])));
        let crashed = of("echo 'test a ... ok'; exit 101", long);
        assert!(matches!(crashed, Ok(Verdict::Crashed(_))), "{crashed:?}");
    }
}
