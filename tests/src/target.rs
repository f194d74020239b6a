//! What cargo has built, found from the running executable: it lies in `<target>/<profile>/` or in its `deps/`.

use std::path::PathBuf;

/// The directory of the profile in use, such as `target/debug`.
fn profile_dir() -> PathBuf {
    let executable = std::env::current_exe().expect("the path of the running executable is known");
    let mut dir = executable;
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir
}

/// A binary of this workspace.
pub(crate) fn binary(name: &str) -> PathBuf {
    profile_dir().join(name)
}

/// A canister's Wasm module.
pub(crate) fn canister_wasm(name: &str) -> PathBuf {
    let mut path = profile_dir();
    path.pop();
    path.join("canisters").join(format!("{name}.wasm"))
}
