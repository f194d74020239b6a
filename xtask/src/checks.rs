//! All that must hold before a change goes in, besides the tests themselves.

use crate::{
    docs,
    steps::{Ended, Failed, ROOT, Step, cargo, quietly},
    target_directory, tests, tools, wasm,
};
use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// The crates that are published, for canisters, for clients of them, and for servers that they call: each after those that it depends on.
const FOR_CANISTERS: [&str; 2] = ["idempotency-macros", "idempotency-core"];
const FOR_CLIENTS: [&str; 3] = [
    "idempotency-macros",
    "idempotency-core",
    "idempotency-agent",
];
const FOR_SERVERS: [&str; 1] = ["idempotency-receiver"];

/// The checks, and all tests.
pub(crate) fn all() -> Vec<Step> {
    let mut steps = vec![Step::new("format", cargo("fmt --all --check"))];
    steps.extend(lints());
    steps.push(docs::rustdoc());
    steps.push(deny());
    steps.push(Step::call("packages, with the oldest compiler", package));
    steps.extend(tests::all());
    steps
}

fn lints() -> [Step; 3] {
    let lint = |what: &str, selection: &str| {
        Step::new(
            what,
            cargo(&format!("clippy {selection} -- --deny warnings")),
        )
    };
    let canisters = [
        &wasm::PACKAGES[..],
        &wasm::MEASURED,
        &wasm::MEASURED_OUTBOXES,
        &wasm::MEASURED_ARCHIVES,
    ];
    let canisters = wasm::selection(&canisters.concat());
    [
        lint("lints", "--workspace --all-targets"),
        // In the profile in which the canisters were built, so that their procedural macros needn't be built once more.
        lint(
            "lints, as canisters",
            &format!("{canisters} --target {} --profile canister", wasm::TARGET),
        ),
        lint(
            "lints, without timers",
            "--package idempotency-core --all-targets --no-default-features",
        ),
    ]
}

/// Licences, sources and advisories of what we depend on.
pub(crate) fn deny() -> Step {
    Step::call("licences and advisories", || {
        let Ok(program) = tools::DENY.install() else {
            return warned("not checked: cargo-deny isn't here and can't be installed");
        };
        let check = |what: &str| {
            let mut check = Command::new(&program);
            check.arg("deny").args(what.split_whitespace());
            check.current_dir(ROOT);
            quietly(&mut check)
        };
        check("check bans licenses sources")?;
        if check("fetch db").is_err() {
            return warned("no advisories were looked up: their database can't be fetched");
        }
        // News of the world outside, which no change is to blame for.
        match check("check --disable-fetch advisories") {
            Ok(()) => Ok(Ended::Done),
            Err(_) => warned("there are advisories against what we depend on; see above"),
        }
    })
}

/// What would be published is complete and builds, with the oldest compiler that it promises to build with. Offline, as all it needs was
/// fetched before.
fn package() -> Result<Ended, Failed> {
    let oldest = tools::install_oldest();
    let directory = packages_directory()?;
    for (target, names) in [
        (Some(wasm::TARGET), &FOR_CANISTERS[..]),
        (None, &FOR_CLIENTS),
        (None, &FOR_SERVERS),
    ] {
        let mut package = match oldest {
            Ok(()) => tools::oldest("cargo"),
            Err(_) => cargo(""),
        };
        package
            .current_dir(ROOT)
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .args(["package", "--offline", "--allow-dirty", "--target-dir"])
            .arg(&directory)
            .args(target.iter().flat_map(|target| ["--target", target]))
            .args(names.iter().flat_map(|name| ["--package", name]));
        quietly(&mut package)?;
    }
    match oldest {
        Ok(()) => Ok(Ended::Done),
        Err(_) => warned(&format!(
            "not built with Rust {}, which can't be installed, but with the current one",
            tools::OLDEST
        )),
    }
}

/// Where packages are built, all in one place, as those for canisters and for clients have the same procedural macros: a place with
/// another name for other contents. Cargo unpacks a package that another one depends on in its home, under the name of the target
/// directory, and never again for the same version, whatever has changed in it. Nothing depends on the last, nor on what is for servers.
/// What was built for earlier contents moves along: most of it is not ours.
fn packages_directory() -> Result<PathBuf, Failed> {
    let mut hasher = DefaultHasher::new();
    let (_, dependencies) = FOR_CLIENTS.split_last().unwrap_or((&"", &[]));
    for name in dependencies {
        let package = Path::new(ROOT).join(name);
        hash_files(&package, &mut hasher)
            .map_err(|error| Failed(format!("{} can't be read: {error}", package.display())))?;
    }
    let all = target_directory().join("packages");
    let one = all.join(format!("{:016x}", hasher.finish()));
    let make = || {
        fs::create_dir_all(&all)?;
        match fs::read_dir(&all)?.next() {
            Some(earlier) => fs::rename(earlier?.path(), &one),
            None => fs::create_dir(&one),
        }
    };
    if !one.exists() {
        make().map_err(|error| Failed(format!("{} can't be made: {error}", one.display())))?;
    }
    Ok(one)
}

/// Adds the names and contents of all files below a directory.
fn hash_files(directory: &Path, hasher: &mut impl Hasher) -> io::Result<()> {
    let mut paths = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            hash_files(&path, hasher)?;
        } else {
            hasher.write(path.as_os_str().as_encoded_bytes());
            hasher.write(&fs::read(&path)?);
        }
    }
    Ok(())
}

fn warned(what: &str) -> Result<Ended, Failed> {
    Ok(Ended::Warned(what.to_owned()))
}
