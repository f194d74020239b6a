//! Checks on any network whether a canister says what became of requests as `docs/src/standard.md` wants it.
#![forbid(unsafe_code)]

use candid::Principal;
use candid_parser::parse_idl_args;
use clap::Parser;
use ic_agent::{Agent, AgentError, identity::BasicIdentity};
use integration_tests::conformance::{Case, Subject, Who, check};
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// Checks whether a canister says what became of requests as the draft standard for outcome queries wants it.
///
/// The call that is named is made, twice. Choose one that does no harm, and a key that no request had before. Callers are two new
/// identities and the anonymous one.
#[derive(Debug, Parser)]
#[command(name = "conformance", version)]
struct Args {
    /// The network: the address of a local replica, say.
    #[arg(long, default_value = "https://icp-api.io")]
    url: String,
    /// Believe the root key that the network names. For local replicas only.
    #[arg(long)]
    fetch_root_key: bool,
    /// The canister.
    #[arg(long)]
    canister: Principal,
    /// The method whose calls the canister is asked about.
    #[arg(long)]
    method: String,
    /// Its argument as candid text, with the types that the method has: '(blob "key 1", "hello", 5 : nat64)'.
    #[arg(long, value_parser = encoded)]
    arg: Encoded,
    /// Another argument with the same key, if there is such: it must be refused.
    #[arg(long, value_parser = encoded)]
    other_arg: Option<Encoded>,
    /// All callers share their requests, so a stranger may be told.
    #[arg(long)]
    shared: bool,
}

/// An argument in candid.
#[derive(Clone, Debug)]
struct Encoded(Vec<u8>);

fn encoded(text: &str) -> Result<Encoded, String> {
    let values = parse_idl_args(text).map_err(|error| error.to_string())?;
    let bytes = values.to_bytes().map_err(|error| error.to_string())?;
    Ok(Encoded(bytes))
}

/// A canister, and who calls it.
struct OnNetwork {
    runtime: Runtime,
    owner: Agent,
    stranger: Agent,
    nobody: Agent,
    canister: Principal,
}

impl OnNetwork {
    fn new(args: &Args) -> Result<Self, AgentError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| AgentError::MessageError(error.to_string()))?;
        let agent = |key: Option<[u8; 32]>| {
            let builder = Agent::builder().with_url(&args.url);
            let agent = match key {
                // They own nothing, so they need not be secret.
                Some(key) => builder.with_identity(BasicIdentity::from_raw_key(&key)),
                None => builder,
            }
            .build()?;
            if args.fetch_root_key {
                runtime.block_on(agent.fetch_root_key())?;
            }
            Ok::<_, AgentError>(agent)
        };
        let key = || Some(std::array::from_fn(|_| fastrand::u8(..)));
        Ok(Self {
            owner: agent(key())?,
            stranger: agent(key())?,
            nobody: agent(None)?,
            canister: args.canister,
            runtime,
        })
    }

    fn agent(&self, who: Who) -> &Agent {
        match who {
            Who::Owner => &self.owner,
            Who::Stranger => &self.stranger,
            Who::Nobody => &self.nobody,
        }
    }
}

impl Subject for OnNetwork {
    fn query(&self, who: Who, method: &str, arg: &[u8]) -> Result<Vec<u8>, String> {
        let query = self.agent(who).query(&self.canister, method).with_arg(arg);
        let reply = self.runtime.block_on(query.call());
        reply.map_err(|error| error.to_string())
    }

    fn update(&self, who: Who, method: &str, arg: &[u8]) -> Result<Vec<u8>, String> {
        let update = self.agent(who).update(&self.canister, method).with_arg(arg);
        let reply = self.runtime.block_on(update.call_and_wait());
        reply.map_err(|error| error.to_string())
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let subject = match OnNetwork::new(&args) {
        Ok(subject) => subject,
        Err(error) => {
            eprintln!("{} can't be reached: {error}", args.url);
            return ExitCode::FAILURE;
        }
    };
    let case = Case {
        method: args.method,
        arg: args.arg.0,
        other_arg: args.other_arg.map(|arg| arg.0),
        is_shared: args.shared,
    };
    let problems = check(&subject, &case);
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => {
            println!("{} conforms, as far as this call shows", args.canister);
            ExitCode::SUCCESS
        }
        problems => {
            println!("{problems} problems");
            ExitCode::FAILURE
        }
    }
}
