//! A request to send a mail.

use crate::{
    Settings,
    smtp::{Delivery, deliver},
};
use axum::{
    Extension,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use idempotency_receiver::{RequestKey, Verdict};
use lettre::{
    Message,
    message::{Mailbox, header::ContentType},
};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// What a sender asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Letter {
    /// One address, with or without a name.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
}

impl Letter {
    /// The mail, with this `Message-ID`; or what is wrong with it.
    fn mail(self, from: &lettre::Address, message_id: &str) -> Result<Message, String> {
        let to: Mailbox = self.to.parse().map_err(|error| format!("to: {error}"))?;
        // It is encoded in any case; this says so instead of sending something odd.
        if self.subject.chars().any(char::is_control) {
            return Err("subject: it must be one line".to_owned());
        }
        Message::builder()
            .from(Mailbox::new(None, from.clone()))
            .to(to)
            .subject(self.subject)
            .message_id(Some(message_id.to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(self.body)
            .map_err(|error| error.to_string())
    }
}

/// What is done once for each key.
pub(crate) async fn send(
    State(settings): State<Arc<Settings>>,
    Extension(key): Extension<RequestKey>,
    body: Bytes,
) -> Response {
    // The same in each attempt, and for each copy.
    let message_id = format!("<{}@{}>", key.identity, settings.from.domain());
    let letter = serde_json::from_slice::<Letter>(&body).map_err(|error| error.to_string());
    let mail = letter.and_then(|letter| letter.mail(&settings.from, &message_id));
    let delivery = match mail {
        Ok(mail) => deliver(&settings.smtp, settings.patience, &mail).await,
        Err(why) => Delivery::Refused(why),
    };
    let json =
        |value: serde_json::Value| ([("content-type", "application/json")], value.to_string());
    let refused = |why: String| json(json!({ "error": why }));
    match delivery {
        Delivery::Accepted => json(json!({ "message_id": message_id })).into_response(),
        Delivery::Refused(why) => (StatusCode::BAD_REQUEST, refused(why)).into_response(),
        Delivery::NotNow(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Extension(Verdict::NotExecuted),
            [(RETRY_AFTER, "5")],
            refused(why),
        )
            .into_response(),
        Delivery::Unknown(why) => (
            StatusCode::BAD_GATEWAY,
            Extension(Verdict::Unknown),
            refused(why),
        )
            .into_response(),
    }
}
