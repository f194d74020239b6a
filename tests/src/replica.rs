//! The replica that tests run on.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Once;

use pocket_ic::common::rest::{IcpConfig, IcpConfigFlag};
use pocket_ic::{PocketIc, PocketIcBuilder};

use crate::target;

/// Where the replica comes from.
enum Source {
    /// The server the user names in `POCKET_IC_BIN`.
    Given(PathBuf),
    /// The real server, fetched by the pocket-ic crate.
    Fetched,
    /// This workspace's stand-in.
    Local(PathBuf),
}

impl Source {
    /// The one place that decides.
    fn choose() -> Self {
        if let Some(path) = env::var_os("POCKET_IC_BIN") {
            return Self::Given(path.into());
        }
        match env::var("IDEMPOTENCY_REPLICA").as_deref() {
            Ok("pocket-ic") => Self::Fetched,
            Ok("local-replica") | Err(env::VarError::NotPresent) => {
                Self::Local(target::binary("local-replica"))
            }
            other => panic!("IDEMPOTENCY_REPLICA is `pocket-ic` or `local-replica`, not {other:?}"),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Given(path) => format!("{} (POCKET_IC_BIN)", path.display()),
            Self::Fetched => "PocketIC, fetched by the pocket-ic crate".to_owned(),
            Self::Local(_) => {
                "local-replica, a stand-in; set IDEMPOTENCY_REPLICA=pocket-ic for PocketIC"
                    .to_owned()
            }
        }
    }

    fn start(self) -> PocketIc {
        // Tests upgrade as often as they like. By default, installing much code keeps a canister from installing more in
        // the next rounds.
        let config = IcpConfig {
            canister_execution_rate_limiting: Some(IcpConfigFlag::Disabled),
            ..IcpConfig::default()
        };
        let builder = PocketIcBuilder::new()
            .with_application_subnet()
            .with_icp_config(config);
        match self {
            Self::Given(path) => builder.with_server_binary(path).build(),
            Self::Fetched => builder.build(),
            Self::Local(path) => {
                assert!(
                    path.exists(),
                    "{} is missing: run `cargo xtask test`, or `cargo build -p local-replica` in this profile",
                    path.display()
                );
                builder.with_server_binary(path).build()
            }
        }
    }
}

/// A fresh replica with one application subnet. `POCKET_IC_BIN` names the server to use;
/// `IDEMPOTENCY_REPLICA=pocket-ic` has PocketIC fetched; otherwise it is this workspace's `local-replica`.
pub fn replica() -> PocketIc {
    static SAY_ONCE: Once = Once::new();
    let source = Source::choose();
    SAY_ONCE.call_once(|| {
        // Not eprintln, which the test harness swallows: results are worth little if it isn't said where they come from.
        // A closed stderr is no reason to fail.
        let _ = writeln!(std::io::stderr(), "replica: {}", source.describe());
    });
    source.start()
}
