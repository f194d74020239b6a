//! The gateway, as a program.
#![forbid(unsafe_code)]

use clap::{Parser, ValueEnum};
use idempotency_receiver::{Limits, SqliteBackend};
use lettre::Address;
use mail_gateway::{Policy, Settings, router};
use std::{error::Error, net::SocketAddr, path::PathBuf, time::Duration};

/// Sends mail for canisters, each once. The token that senders need is in the environment variable GATEWAY_TOKEN.
#[derive(Parser)]
struct Arguments {
    /// Where to listen. Canisters speak HTTPS only, so put a proxy before it.
    #[arg(long, default_value = "127.0.0.1:8025")]
    listen: SocketAddr,
    /// The SMTP server, which is spoken to without encryption.
    #[arg(long, default_value = "localhost:25")]
    smtp: String,
    /// Whom the mails are from.
    #[arg(long)]
    from: Address,
    /// The records of what was sent.
    #[arg(long, default_value = "mail-gateway.db")]
    database: PathBuf,
    /// What to do about a mail of which nobody knows whether it was sent.
    #[arg(long, value_enum, default_value_t = How::AtMostOnce)]
    policy: How,
    /// How many senders must ask for a mail.
    #[arg(long)]
    quorum: Option<usize>,
    /// In how many seconds.
    #[arg(long, default_value_t = 60)]
    within: u64,
    /// How many proxies of yours stand before it.
    #[arg(long, default_value_t = 0)]
    proxies: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum How {
    /// Not to send it again.
    AtMostOnce,
    /// To send it again.
    AtLeastOnce,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let token = std::env::var("GATEWAY_TOKEN")
        .map_err(|_| "GATEWAY_TOKEN must be set: without it anybody could send mail")?;
    let mut settings = Settings::new(arguments.smtp, arguments.from, Some(token));
    settings.policy = match arguments.policy {
        How::AtMostOnce => Policy::AtMostOnce,
        How::AtLeastOnce => Policy::AtLeastOnce,
    };
    settings.quorum = arguments
        .quorum
        .map(|needed| (needed, Duration::from_secs(arguments.within)));
    settings.proxies = arguments.proxies;
    let backend = SqliteBackend::open(arguments.database, Limits::default())?;
    let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let service = router(settings, backend).into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, service).await?)
}
