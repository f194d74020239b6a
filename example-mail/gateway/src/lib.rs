//! Sends mail for canisters, each once.
//!
//! A canister can't speak SMTP. It POSTs `{"to": "…", "subject": "…", "body": "…"}` to `/send`, with an `Idempotency-Key`, and
//! the gateway hands a mail to an SMTP server. Copies of the request, such as the 13 of a replicated outcall, send nothing and
//! get the same answer:
//!
//! | what happened | answer | a copy |
//! |---|---|---|
//! | the SMTP server took the mail | 200, `{"message_id": "<…>"}` | gets the same answer |
//! | it refuses it for good, or the request is no mail | 400, with the reason | gets the same answer |
//! | it is not there, or says "later" | 503 | is tried anew |
//! | the connection broke after the mail was sent | 502: nobody knows | see below |
//!
//! # How often
//! "The server took it" and the record of that are in two places, so there is a moment when the gateway can be killed, or the
//! connection can break, and nobody knows whether the mail was sent. [`Policy`] says what happens to the next copy then. Either
//! way each copy of a mail has the same `Message-ID`, which is made from the key: mail systems that look for duplicates find them
//! by it.
//!
//! # Who may send
//! Whoever has the token. All replicas of a subnet have it, too, so a single one that is not honest can send mail; with
//! [`Settings::quorum`] it takes several.
#![forbid(unsafe_code)]

mod send;
mod smtp;

pub use send::Letter;
pub use smtp::{Delivery, deliver};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency_receiver::{IdempotencyLayer, OnUnknown, Quorum, SqliteBackend, forwarded_for};
use lettre::Address;
use sha2::{Digest, Sha256};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// What is done about a mail of which nobody knows whether it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is not sent again: copies get 409, "the outcome is unknown". It may be missing.
    #[default]
    AtMostOnce,
    /// It is sent again when a copy comes, with the same `Message-ID`. It may arrive twice.
    AtLeastOnce,
}

/// How a gateway works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// `host:port` of the SMTP server. It is spoken to without encryption, so it should be on the same machine.
    pub smtp: String,
    /// Whom the mails are from.
    pub from: Address,
    /// What a sender must know: `Authorization: Bearer …`. Without one anybody can send mail.
    pub token: Option<String>,
    /// What is done about mails whose outcome is unknown.
    pub policy: Policy,
    /// How many senders must send a request, and within which time, before it is executed. At the beginning: one.
    pub quorum: Option<(usize, Duration)>,
    /// How many proxies of yours stand before the gateway; each adds to `X-Forwarded-For`. Matters for the quorum. At the
    /// beginning: none.
    pub proxies: usize,
    /// How long the SMTP server has for an answer. At the beginning: 10 seconds.
    pub patience: Duration,
}

impl Settings {
    /// Mails from this address, by this SMTP server, for whoever has the token.
    pub fn new(smtp: impl Into<String>, from: Address, token: Option<String>) -> Self {
        Self {
            smtp: smtp.into(),
            from,
            token,
            policy: Policy::default(),
            quorum: None,
            proxies: 0,
            patience: Duration::from_secs(10),
        }
    }
}

/// The gateway, with records there. Serve it with `into_make_service_with_connect_info::<SocketAddr>()` if there is a quorum and
/// no proxy.
pub fn router(settings: Settings, backend: SqliteBackend) -> Router {
    let mut layer = IdempotencyLayer::new(backend).on_unknown(match settings.policy {
        Policy::AtMostOnce => OnUnknown::Refuse,
        Policy::AtLeastOnce => OnUnknown::Repeat,
    });
    if let Some((needed, within)) = settings.quorum {
        let proxies = settings.proxies;
        layer = layer.quorum(
            Quorum::new(needed, within).from(move |parts| match proxies {
                0 => {
                    let ConnectInfo(address) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
                    Some(address.ip().to_canonical().to_string())
                }
                _ => forwarded_for(parts, proxies),
            }),
        );
    }
    let settings = Arc::new(settings);
    Router::new()
        .route("/send", post(send::send).layer(layer))
        // The layer has its own limit.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&settings), admit))
        .with_state(settings)
}

/// Lets those in who have the token.
async fn admit(State(settings): State<Arc<Settings>>, request: Request, next: Next) -> Response {
    let Some(token) = &settings.token else {
        return next.run(request).await;
    };
    // Digests, so that the time which that takes tells nothing of the token.
    let expected = Sha256::digest(format!("Bearer {token}"));
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .map(|value| Sha256::digest(value.as_bytes()));
    match given == Some(expected) {
        true => next.run(request).await,
        false => (StatusCode::UNAUTHORIZED, "the token is missing or wrong\n").into_response(),
    }
}
