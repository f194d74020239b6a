//! The `local-replica` binary: takes the place of the PocketIC server in `POCKET_IC_BIN`.
#![forbid(unsafe_code)]

use std::env::VarError;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use local_replica::server::Server;
use tokio::net::TcpListener;

/// Names the order of ingress messages: the client starts the server, and hands on no options of ours.
const ORDER: &str = "LOCAL_REPLICA_ORDER";

/// A stand-in for the PocketIC server.
///
/// The ingress messages of a round are executed in an order that has nothing to do with the one they came in, as by the
/// real server. A number in the environment variable LOCAL_REPLICA_ORDER chooses another such order.
#[derive(Debug, Parser)]
// The client insists on this name, and on a version whose build part it ignores.
#[command(name = "pocket-ic-server", version = concat!("16.1.0+local-replica.", env!("CARGO_PKG_VERSION")))]
struct Args {
    /// Seconds without a request after which the server exits.
    #[arg(long, default_value_t = 60)]
    ttl: u64,
    /// Seconds after which the server exits whatever it is doing.
    #[arg(long)]
    hard_ttl: Option<u64>,
    /// File to create and write the port into; if it exists already, another server is running and this one exits.
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// Port to listen on; any free one by default.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("local-replica: {error}");
            ExitCode::FAILURE
        }
    }
}

fn order() -> std::io::Result<u64> {
    match std::env::var(ORDER) {
        Err(VarError::NotPresent) => Ok(0),
        Ok(text) => text.parse().map_err(|_| not_a_number(&text)),
        Err(VarError::NotUnicode(text)) => Err(not_a_number(&text.to_string_lossy())),
    }
}

fn not_a_number(text: &str) -> std::io::Error {
    std::io::Error::new(
        ErrorKind::InvalidInput,
        format!("{ORDER} is a number, not `{text}`"),
    )
}

fn start(args: &Args) -> std::io::Result<()> {
    let order = order()?;
    let port_file = match &args.port_file {
        Some(path) => match File::create_new(path) {
            Ok(file) => Some((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(error),
        },
        None => None,
    };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(args, order, port_file.as_ref().map(|(_, file)| file)));
    if let Some((path, _)) = &port_file {
        // Someone may have tidied up already.
        let _ = std::fs::remove_file(path);
    }
    result
}

async fn serve(args: &Args, order: u64, port_file: Option<&File>) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await?;
    let port = listener.local_addr()?.port();
    eprintln!(
        "local-replica {} on port {port}: a stand-in for the PocketIC server. No consensus and no system canisters; \
         certificates are signed with keys that everybody knows; cycles for storage and scheduling are approximate; \
         what it doesn't have it refuses as \"not supported by local-replica\".",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(mut file) = port_file {
        writeln!(file, "{port}")?;
        file.flush()?;
    }
    let ttl = Duration::from_secs(args.ttl);
    let server = Arc::new(Server::new(order)).serve(listener, ttl);
    match args.hard_ttl {
        // Running out of the hard limit is no error.
        Some(seconds) => tokio::time::timeout(Duration::from_secs(seconds), server)
            .await
            .unwrap_or(Ok(())),
        None => server.await,
    }
}
