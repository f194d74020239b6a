//! The command line.

use candid::{Nat, Principal};
use clap::{Args, Parser, Subcommand};
use idempotency_agent::Subaccount;
use std::{path::PathBuf, time::Duration};

/// A wallet for ICRC-1 ledgers that can be killed at any moment and run again.
#[derive(Debug, Parser)]
#[command(name = "ledger-wallet", version)]
pub(crate) struct Arguments {
    /// The network.
    #[arg(long, default_value = "https://icp-api.io")]
    pub(crate) url: String,
    /// Believe the root key that the network names. For local replicas only.
    #[arg(long)]
    pub(crate) fetch_root_key: bool,
    /// The file with the key that owns the tokens, in PEM, as `dfx identity export` and `icp identity export` write it.
    #[arg(long)]
    pub(crate) pem: PathBuf,
    /// The file that has what was sent and what became of it. Use one for each key, and keep it.
    #[arg(long)]
    pub(crate) journal: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a transfer, or go on with it, or say again what became of it. Exit code 0: transferred; 1: not transferred, and it won't be;
    /// 2: not known yet, run it again; 3: nothing could be done.
    Transfer(Transfer),
    /// Go on with all transfers that have not ended.
    Resume,
    /// The principal of the key.
    Whoami,
}

/// A transfer.
#[derive(Args, Debug)]
pub(crate) struct Transfer {
    /// Its name: an invoice's number, say. Another transfer needs another name; the same name is the same transfer. At most 32 bytes, which
    /// become the memo.
    #[arg(value_parser = name)]
    pub(crate) name: String,
    /// The ledger.
    #[arg(long)]
    pub(crate) ledger: Principal,
    /// Who receives.
    #[arg(long)]
    pub(crate) to: Principal,
    /// Which of the receiver's accounts, in hexadecimal.
    #[arg(long, value_parser = subaccount)]
    pub(crate) to_subaccount: Option<Subaccount>,
    /// The amount that arrives, in the smallest unit of the token.
    #[arg(long)]
    pub(crate) amount: Nat,
    /// In two steps, for a ledger that has no deduplication. It costs two fees.
    #[arg(long)]
    pub(crate) two_steps: bool,
    /// How long to go on, in seconds.
    #[arg(long, default_value_t = 600)]
    pub(crate) patience: u64,
}

impl Transfer {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

fn name(text: &str) -> Result<String, String> {
    match text.len() {
        1..=32 => Ok(text.to_owned()),
        length => Err(format!("it has {length} bytes, and must have 1 to 32")),
    }
}

/// Up to 64 digits; zeros are put in front.
fn subaccount(text: &str) -> Result<Subaccount, String> {
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("it has 1 to 64 hexadecimal digits".into());
    }
    let digits = format!("{text:0>64}");
    let mut bytes = [0; 32];
    for (byte, place) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte =
            u8::from_str_radix(&digits[place..place + 2], 16).map_err(|error| error.to_string())?;
    }
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subaccounts_are_written_from_the_right() {
        let mut seven = [0; 32];
        seven[31] = 7;
        for text in ["7", "07", &format!("{:0>64}", 7)] {
            assert_eq!(subaccount(text), Ok(seven), "{text}");
        }
        assert_eq!(subaccount(&hex(&[0xab; 32])), Ok([0xab; 32]));
        for text in ["", "g", "+7", &"0".repeat(65), "é"] {
            assert!(subaccount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_fits_into_a_memo() {
        assert!(name("invoice 7").is_ok() && name(&"x".repeat(32)).is_ok());
        assert!(name("").is_err() && name(&"x".repeat(33)).is_err());
    }

    #[test]
    fn the_command_line_holds_together() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
