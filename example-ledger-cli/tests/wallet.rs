//! The wallet is killed at any moment and run again, and makes one transfer.

use candid::{Nat, Principal};
use example_ledger::{
    init::{InitArgs, LedgerArg},
    types::Account,
};
use fastrand::Rng;
use integration_tests::{Canister, LEDGER, replica, user};
use pem::Pem;
use std::{
    path::PathBuf,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const FEE: u64 = 10;
const WEALTH: u64 = 1_000_000;
const AMOUNT: u64 = 1_000;

/// A wallet with a key of its own, and a ledger on a live replica on which it is rich.
struct World {
    _replica: pocket_ic::PocketIc,
    url: String,
    ledger: Principal,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // RFC 8410: a private key of Ed25519.
        let secret = [
            &b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..],
            &[7; 32],
        ]
        .concat();
        let pem = pem::encode(&Pem::new("PRIVATE KEY", secret));
        std::fs::write(directory.path().join("key.pem"), pem).expect("it is written");
        let mut world = Self {
            _replica: replica(),
            url: String::new(),
            ledger: Principal::anonymous(),
            directory,
        };
        let account = |owner| Account {
            owner,
            subaccount: None,
        };
        let init = LedgerArg::Init(InitArgs {
            token_name: "Test".into(),
            token_symbol: "TST".into(),
            decimals: None,
            transfer_fee: FEE.into(),
            minting_account: account(user(99)),
            initial_balances: vec![(account(world.owner()), WEALTH.into())],
            metadata: vec![],
            max_memo_length: None,
            archives: None,
        });
        world.ledger = Canister::install(&world._replica, LEDGER, (init,)).id();
        world.url = world._replica.make_live(None).to_string();
        world
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn wallet(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ledger-wallet"));
        command
            .args(["--fetch-root-key", "--url", &self.url])
            .arg("--pem")
            .arg(self.file("key.pem"))
            .arg("--journal")
            .arg(self.file("journal"))
            .args(arguments);
        command
    }

    /// What it prints, and its exit code.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.wallet(arguments).output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (output.status.code().expect("it ends by itself"), text)
    }

    fn owner(&self) -> Principal {
        // Nothing is asked of the network.
        let mut command = Command::new(env!("CARGO_BIN_EXE_ledger-wallet"));
        command.arg("--pem").arg(self.file("key.pem"));
        command.arg("--journal").arg(self.file("journal"));
        let output = command.arg("whoami").output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        Principal::from_text(text.trim()).expect("a principal")
    }

    fn transfer(&self, name: &str, to: u8, more: &[&str]) -> Vec<String> {
        let (ledger, to) = (self.ledger.to_text(), user(to).to_text());
        let amount = AMOUNT.to_string();
        [
            "transfer", name, "--ledger", &ledger, "--to", &to, "--amount", &amount,
        ]
        .iter()
        .chain(more)
        .map(|word| (*word).to_owned())
        .collect()
    }

    fn balance(&self, owner: Principal) -> Nat {
        let account = Account {
            owner,
            subaccount: None,
        };
        let arg = candid::encode_one(account).expect("it encodes");
        let reply = (self._replica).query_call(self.ledger, user(1), "icrc1_balance_of", arg);
        candid::decode_one(&reply.expect("it answers")).expect("a balance")
    }
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Kills the wallet again and again, at moments of all kinds, and lets it come to an end at last.
fn transfers_while_it_is_killed(more: &[&str], transfers: u8, fees: u64) {
    let world = World::new();
    let mut rng = Rng::with_seed(7);
    let mut kills = 0;
    // How long one takes that nobody kills.
    let begun = Instant::now();
    let first = world.transfer("invoice 0", 0, more);
    assert_eq!(world.run(&words(&first)).0, 0);
    let usual = begun.elapsed().as_micros() as u64;
    for number in 1..=transfers {
        let name = format!("invoice {number}");
        let arguments = world.transfer(&name, number, more);
        for _ in 0..rng.u8(1..5) {
            let mut wallet = world.wallet(&words(&arguments));
            let wallet = wallet.stdout(Stdio::null()).stderr(Stdio::null());
            let mut wallet = wallet.spawn().expect("it runs");
            sleep(Duration::from_micros(rng.u64(0..usual)));
            kills += u32::from(wallet.try_wait().expect("a process").is_none());
            // It may have ended by itself.
            let _ = wallet.kill();
            wallet.wait().expect("a process");
        }
        let (code, text) = world.run(&words(&arguments));
        assert_eq!(code, 0, "{text}");
        assert!(text.starts_with("transferred"), "{text}");
        assert_eq!(world.balance(user(number)), Nat::from(AMOUNT), "{name}");
        // Said once more, it is the same.
        assert_eq!(world.run(&words(&arguments)), (0, text));
    }
    let spent = u64::from(transfers + 1) * (AMOUNT + fees * FEE);
    assert_eq!(world.balance(world.owner()), Nat::from(WEALTH - spent));
    println!("killed {kills} times");
    assert!(kills > u32::from(transfers) / 2, "{kills} kills");
}

#[test]
fn a_wallet_that_is_killed_makes_one_transfer() {
    transfers_while_it_is_killed(&[], 40, 1);
}

/// Without a time and a memo the ledger would make it again.
#[test]
fn a_wallet_that_is_killed_makes_one_transfer_in_two_steps() {
    transfers_while_it_is_killed(&["--two-steps"], 20, 2);
}

#[test]
fn what_can_not_be_done_is_said() {
    let world = World::new();
    let arguments = world.transfer("invoice 1", 1, &[]);
    let (code, text) = world.run(&words(&arguments));
    assert_eq!(code, 0, "{text}");
    // The name is another transfer's.
    let other = world.transfer("invoice 1", 2, &[]);
    let (code, text) = world.run(&words(&other));
    assert!(
        code == 3 && text.contains("another call with the key"),
        "{code}: {text}"
    );
    // More than there is.
    let mut rich = world.transfer("invoice 2", 1, &[]);
    *rich.last_mut().expect("an amount") = WEALTH.to_string();
    let (code, text) = world.run(&words(&rich));
    assert!(
        code == 1 && text.contains("InsufficientFunds"),
        "{code}: {text}"
    );
    assert_eq!(world.run(&["resume"]), (0, "nothing is open".into()));
    // A key that is none, and a journal that is none.
    std::fs::write(world.file("journal"), "no journal").expect("it is written");
    let (code, text) = world.run(&words(&arguments));
    assert!(code == 3 && text.contains("damaged"), "{code}: {text}");
    std::fs::write(world.file("key.pem"), "no key").expect("it is written");
    let (code, text) = world.run(&words(&arguments));
    assert!(
        code == 3 && text.contains("no key that this wallet can use"),
        "{code}: {text}"
    );
}
