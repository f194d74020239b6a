//! Hands a mail to an SMTP server, and knows how far it came.

use lettre::{
    Message,
    address::Envelope,
    transport::smtp::{
        Error,
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use std::time::Duration;
use tokio::time::timeout;

/// What became of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The server has taken it.
    Accepted,
    /// The server refuses it for good.
    Refused(String),
    /// The server did not take it, but may later.
    NotNow(String),
    /// It was sent, and no answer came. The server may have taken it.
    Unknown(String),
}

/// Hands it to the server at `host:port`, without encryption, so it had better be on the same machine.
///
/// Up to the mail's text nothing has happened, whatever fails. From its first byte on only the server's answer tells.
pub async fn deliver(server: &str, patience: Duration, mail: &Message) -> Delivery {
    let mut connection = match timeout(patience, greet(server, patience, mail.envelope())).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            return refused(&error).unwrap_or_else(|| Delivery::NotNow(error.to_string()));
        }
        Err(_) => return Delivery::NotNow("the mail server does not answer".to_owned()),
    };
    let delivery = match timeout(patience, connection.message(&mail.formatted())).await {
        Ok(Ok(_)) => Delivery::Accepted,
        Ok(Err(error)) => refused(&error).unwrap_or_else(|| Delivery::Unknown(error.to_string())),
        Err(_) => return Delivery::Unknown("the mail server did not answer".to_owned()),
    };
    // The answer counts, not the farewell.
    let _ = timeout(Duration::from_secs(1), connection.abort()).await;
    delivery
}

/// All that comes before the mail's text.
async fn greet(
    server: &str,
    patience: Duration,
    envelope: &Envelope,
) -> Result<AsyncSmtpConnection, Error> {
    let hello = ClientId::default();
    let mut connection =
        AsyncSmtpConnection::connect_tokio1(server, Some(patience), &hello, None, None).await?;
    let mut parameters = vec![];
    if connection
        .server_info()
        .supports_feature(Extension::EightBitMime)
    {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let mut addresses = envelope.from().into_iter().chain(envelope.to());
    if addresses.any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
        parameters.push(MailParameter::SmtpUtfEight);
    }
    connection
        .command(Mail::new(envelope.from().cloned(), parameters))
        .await?;
    for recipient in envelope.to() {
        connection
            .command(Rcpt::new(recipient.clone(), vec![]))
            .await?;
    }
    connection.command(Data).await?;
    Ok(connection)
}

/// What the server has answered, if it has: it did not take the mail.
fn refused(error: &Error) -> Option<Delivery> {
    match () {
        () if error.is_permanent() => Some(Delivery::Refused(error.to_string())),
        () if error.is_transient() => Some(Delivery::NotNow(error.to_string())),
        () => None,
    }
}
