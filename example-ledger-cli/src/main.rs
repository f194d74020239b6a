//! A wallet for ICRC-1 ledgers. It can be killed at any moment: run it again with the same words, and it goes on.
//!
//! Each transfer has a name that its user chooses, an invoice's number, say. Before anything is sent, name, signed message and time are in
//! the journal, a file beside the wallet's key. So a second run neither makes a second transfer nor asks what the first one did: it finds out.
#![forbid(unsafe_code)]

mod arguments;
mod progress;

use arguments::{Arguments, Command, Transfer};
use clap::Parser;
use ic_agent::{
    Agent, Identity,
    identity::{BasicIdentity, Secp256k1Identity},
};
use idempotency_agent::{
    Account, End, FileJournal, IcTransport, Key, Reply, SafeAgent, TwoStepEnd,
};
use std::{error::Error, process::ExitCode, sync::Arc};

type Wallet = SafeAgent<IcTransport, FileJournal>;

/// What becomes known of a transfer, as the exit code says it.
enum Known {
    /// 0
    Done(String),
    /// 1
    NotDone(String),
    /// 2
    Unknown(String),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let (code, text) = match runtime.block_on(run(arguments)) {
        Ok(Known::Done(text)) => (0, text),
        Ok(Known::NotDone(text)) => (1, text),
        Ok(Known::Unknown(text)) => (2, text),
        Err(error) => return failed(&*error),
    };
    println!("{text}");
    ExitCode::from(code)
}

fn failed(error: &dyn Error) -> ExitCode {
    eprintln!("ledger-wallet: {error}");
    ExitCode::from(3)
}

async fn run(arguments: Arguments) -> Result<Known, Box<dyn Error>> {
    let identity = identity(&arguments)?;
    let owner = identity.sender()?;
    let builder = Agent::builder().with_url(&arguments.url);
    let transport = IcTransport::new(builder, identity)?;
    if arguments.fetch_root_key {
        transport.agent().fetch_root_key().await?;
    }
    let wallet = SafeAgent::new(transport, FileJournal::open(&arguments.journal)?);
    match &arguments.command {
        Command::Transfer(transfer) if transfer.two_steps => in_two_steps(&wallet, transfer).await,
        Command::Transfer(transfer) => in_one_step(&wallet, transfer).await,
        Command::Resume => resume(&wallet).await,
        Command::Whoami => Ok(Known::Done(owner.to_text())),
    }
}

/// The identity in the file, of either kind that the IC's tools write.
fn identity(arguments: &Arguments) -> Result<Arc<dyn Identity>, Box<dyn Error>> {
    match BasicIdentity::from_pem_file(&arguments.pem) {
        Ok(identity) => Ok(Arc::new(identity)),
        Err(first) => match Secp256k1Identity::from_pem_file(&arguments.pem) {
            Ok(identity) => Ok(Arc::new(identity)),
            Err(second) => {
                let pem = arguments.pem.display();
                Err(format!("{pem} has no key that this wallet can use: {first}; {second}").into())
            }
        },
    }
}

fn receiver(transfer: &Transfer) -> Account {
    Account {
        owner: transfer.to,
        subaccount: transfer.to_subaccount,
    }
}

async fn in_one_step(wallet: &Wallet, transfer: &Transfer) -> Result<Known, Box<dyn Error>> {
    let key = Key::new(transfer.name.as_bytes());
    let progress = progress::Line::new(&transfer.name);
    let call = wallet
        .transfer(
            transfer.ledger,
            receiver(transfer),
            transfer.amount.clone(),
            key,
        )
        .deadline(transfer.patience())
        .on_progress(|step| progress.say(&step));
    Ok(known(call.send().await?))
}

async fn in_two_steps(wallet: &Wallet, transfer: &Transfer) -> Result<Known, Box<dyn Error>> {
    let key = Key::new(transfer.name.as_bytes());
    let to = receiver(transfer);
    let made = wallet
        .transfer_in_two_steps(transfer.ledger, to, transfer.amount.clone(), key)
        .deadline(transfer.patience());
    Ok(match made.send().await? {
        TwoStepEnd::Transferred { block: Some(block) } => {
            Known::Done(format!("transferred, in block {block}"))
        }
        TwoStepEnd::Transferred { block: None } => Known::Done("transferred".into()),
        TwoStepEnd::NotTransferred(refusal) => {
            Known::NotDone(format!("not transferred: {refusal}"))
        }
        TwoStepEnd::NeverRan => Known::NotDone("not transferred: it never ran".into()),
        TwoStepEnd::Stuck { between, error } => Known::NotDone(format!(
            "not transferred: the amount lies in your subaccount {}, and the ledger says {error}",
            arguments::hex(&between.subaccount.unwrap_or_default())
        )),
        TwoStepEnd::StillUnknown { why, .. } => unknown(&why),
    })
}

async fn resume(wallet: &Wallet) -> Result<Known, Box<dyn Error>> {
    let mut is_unknown = false;
    let mut lines = vec![];
    for (key, end) in wallet.resume().await? {
        let name = String::from_utf8_lossy(key.as_bytes()).into_owned();
        let text = match known(end?) {
            Known::Done(text) | Known::NotDone(text) => text,
            Known::Unknown(text) => {
                is_unknown = true;
                text
            }
        };
        lines.push(format!("{name}: {text}"));
    }
    if lines.is_empty() {
        lines.push("nothing is open".into());
    }
    let text = lines.join("\n");
    Ok(match is_unknown {
        true => Known::Unknown(text),
        false => Known::Done(text),
    })
}

fn known(end: End) -> Known {
    match end {
        End::Replied(Reply::Block(block)) => Known::Done(format!("transferred, in block {block}")),
        End::Replied(Reply::Dropped { executed_at }) => {
            Known::Done(format!("transferred at {executed_at}"))
        }
        End::Replied(Reply::Bytes(reply)) => Known::Unknown(format!(
            "the ledger's answer can't be read: {}",
            arguments::hex(&reply)
        )),
        End::Rejected(refusal) => Known::NotDone(format!("not transferred: {refusal}")),
        End::NeverRan(_) => Known::NotDone("not transferred: it never ran".into()),
        End::StillUnknown { why, .. } => unknown(&why),
    }
}

fn unknown(why: &str) -> Known {
    Known::Unknown(format!(
        "not known yet ({why}); run the same command again, and it goes on"
    ))
}
