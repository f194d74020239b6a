//! What the chores need beside the toolchain: fetched when it is missing, into `target/tools` or by rustup.

use crate::{
    steps::{Failed, cargo, quietly},
    target_directory, wasm,
};
use std::{env, path::PathBuf, process::Command};

/// A program from the registry, of one version.
pub(crate) struct Tool {
    package: &'static str,
    version: &'static str,
}

/// Checks licences, sources and advisories of what we depend on.
pub(crate) const DENY: Tool = Tool {
    package: "cargo-deny",
    version: "0.20.2",
};

/// Renders the book.
pub(crate) const MDBOOK: Tool = Tool {
    package: "mdbook",
    version: "0.5.4",
};

impl Tool {
    /// Where the program is, once it is built. Not optimised: it runs for seconds, and building it is what takes long.
    pub(crate) fn install(&self) -> Result<PathBuf, Failed> {
        let Self { package, version } = self;
        let root = target_directory().join(format!("tools/{package}-{version}"));
        let program = root.join("bin").join(package);
        let program = program.with_extension(env::consts::EXE_EXTENSION);
        if !program.exists() {
            let mut install = cargo(&format!(
                "install {package} --version ={version} --locked --debug --no-default-features"
            ));
            install.arg("--root").arg(root);
            install.env("CARGO_PROFILE_DEV_DEBUG", "false");
            quietly(&mut install)?;
        }
        Ok(program)
    }
}

/// The oldest compiler that the crates promise to build with.
pub(crate) const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Has rustup fetch the oldest compiler if it isn't there.
pub(crate) fn install_oldest() -> Result<(), Failed> {
    if wasm::has_target(oldest("rustc")).unwrap_or(false) {
        return Ok(());
    }
    let mut install = Command::new("rustup");
    install
        .args(["toolchain", "install", OLDEST, "--profile", "minimal"])
        .args(["--target", wasm::TARGET]);
    quietly(&mut install)
}

/// A program of the oldest toolchain.
pub(crate) fn oldest(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", OLDEST, program]);
    command
}
