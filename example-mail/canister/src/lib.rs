//! A canister that sends mail, and knows what became of it.
//!
//! A canister can't speak SMTP. It asks a gateway, which does, with an HTTPS outcall:
//!
//! ```text
//!  client ──── send_mail ────► canister ──── POST /send ────► gateway ──── SMTP ────► mail server
//!         request id: a retry            idempotency key: a copy            Message-ID: the same
//!         gets the first reply           gets the first answer              for all copies
//! ```
//!
//! Each arrow can lose its answer, so each has a key by which a repetition is recognised:
//! - `#[idempotent]`: a client that has lost the reply of `send_mail` calls again with the same request id, and there is one mail.
//! - The outbox: the mail is recorded and put into the outbox in one message. A timer sends it, with the same key in all attempts, from
//!   all replicas and after upgrades, until the gateway's answer is there. Then `ended` is told, once.
//! - The gateway, `example-mail/gateway`: hands each mail to the mail server once for each key. Between these two there is no key, so
//!   where the connection breaks after the mail's last byte nobody knows whether the server took it. The gateway's policy says what
//!   follows: nothing, and the mail here is `Unknown`; or the same mail again, and it may arrive twice.
//!
//! Whoever is not anonymous may send 20 mails at a time and 200 a day. In a canister of your own decide who may send, and what:
//! a gateway that sends for everyone sends spam.

#![forbid(unsafe_code)]

mod letter;
mod mails;

use crate::{
    letter::Letter,
    mails::{Gateway, Mail, MailId, Memory, State, Totals},
};
use candid::CandidType;
use ic_cdk::{api, init, post_upgrade, query, update};
use idempotency_core::{
    IdempotencyError, Policy, Store, idempotent,
    outbox::{self, Ended, Outbox, Outcome, Reason, Request, Response, SendError, Sends as _},
};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

outbox::export_transform!(TRANSFORM);

// ANCHOR: state
thread_local! {
    /// The requests of `send_mail`, 200 a day from each caller.
    static REQUESTS: Store<Memory> = Store::new(
        mails::memory(10),
        Policy::new().window(DAY).capacity(100_000).quota(200, 1 << 20),
    );

    /// The mails on their way, at most 20 of each caller. An attempt is made for 12 hours at most, and the gateway remembers keys for 24.
    static OUTBOX: Outbox<Memory> = Outbox::new(
        mails::memory(11),
        outbox::Policy::new().capacity(10_000).quota(20, 1 << 20),
        TRANSFORM,
    )
    .on_end(ended);
}
// ANCHOR_END: state

/// The argument of an installation: the gateway.
///
/// # Panics
/// If it can't be one.
#[init]
fn init(gateway: Gateway) {
    use_gateway(gateway);
    install();
}

/// Mails that were under way go on by themselves, by the gateway with which they began. Later ones go by another, if one is given.
///
/// # Panics
/// If it can't be one: the upgrade is undone.
#[post_upgrade]
fn post_upgrade(gateway: Option<Gateway>) {
    if let Some(gateway) = gateway {
        use_gateway(gateway);
    }
    install();
}

fn use_gateway(gateway: Gateway) {
    if let Err(reason) = gateway.check() {
        ic_cdk::trap(reason);
    }
    mails::set_gateway(&gateway);
}

fn install() {
    idempotency_core::install(&REQUESTS);
    outbox::install(&OUTBOX);
}

/// A mail to send.
#[derive(CandidType, Clone, Debug, Deserialize)]
struct SendMailArg {
    /// The same in each retry, and another for each mail.
    request_id: ByteBuf,
    /// One address, without a name.
    to: String,
    /// One line, at most 250 bytes.
    subject: String,
    /// Plain text, at most 100,000 bytes.
    body: String,
}

/// Why a mail was not taken. There is none, and none will be sent.
#[derive(CandidType, Clone, Debug, Deserialize)]
enum SendMailError {
    /// It is no mail.
    Invalid { reason: String },
    /// The caller has as many mails on their way as it may. Send it when some have ended.
    TooManyQueued,
    /// The canister can't take it now.
    NotQueued { reason: String },
    /// The request is none, or comes too often.
    Idempotency(IdempotencyError),
}

impl From<IdempotencyError> for SendMailError {
    fn from(error: IdempotencyError) -> Self {
        Self::Idempotency(error)
    }
}

impl From<SendError> for SendMailError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::QuotaExceeded => Self::TooManyQueued,
            error => Self::NotQueued {
                reason: error.to_string(),
            },
        }
    }
}

// ANCHOR: send_mail
/// Sends a mail, and gives the number by which [`mail`] finds it. It is on its way then, not there.
///
/// A retry with the same id gets the same answer, and sends nothing.
#[idempotent(store = REQUESTS, key = arg.request_id)]
#[update]
fn send_mail(arg: SendMailArg) -> Result<MailId, SendMailError> {
    let letter = Letter::new(arg.to, arg.subject, arg.body)
        .map_err(|reason| SendMailError::Invalid { reason })?;
    let (caller, gateway) = (api::msg_caller(), mails::gateway());
    let id = OUTBOX.send(
        Request::post(gateway.url)
            .header("Authorization", format!("Bearer {}", gateway.token))
            .header("Content-Type", "application/json")
            .body(letter.json())
            .replicated(gateway.is_replicated)
            // Headers, and what a mail server has to say when it refuses.
            .max_response_bytes(4_096)
            .extract("/message_id")
            .scope(caller.as_slice()),
    )?;
    // Only now: up to here an `Err` has left nothing behind. What the client sees, the outbox and the reply commit together.
    mails::add(id, Mail::queued(caller, letter, api::time()));
    Ok(id)
}
// ANCHOR_END: send_mail

// ANCHOR: ended
/// What became of a mail. The outbox calls it once for each, in a message that commits both.
fn ended(message: &Ended) {
    let at = message.ended_at.as_nanos();
    let unknown = |reason| State::Unknown { reason, at };
    let state = match &message.outcome {
        Outcome::Acknowledged(answer) => match serde_json::from_slice(&answer.body) {
            Ok(message_id) => State::Sent { message_id, at },
            // It may be anybody's 200.
            Err(_) => unknown("the answer has no message_id: is it the gateway's?".to_owned()),
        },
        Outcome::Dead { reason, answer, .. } => State::Failed {
            reason: why(reason, answer.as_ref()),
            at,
        },
        Outcome::Unknown { reason, answer, .. } => unknown(why(reason, answer.as_ref())),
        outcome => unknown(format!("{outcome:?}")),
    };
    mails::end(message.id, state);
}
// ANCHOR_END: ended

/// In words, with what the gateway said. Of an answer to all replicas that is its status alone, as they might not agree on more.
fn why(reason: &Reason, answer: Option<&Response>) -> String {
    match answer {
        None => reason.to_string(),
        Some(answer) if answer.body.is_empty() => format!("{reason} ({})", answer.status),
        Some(answer) => {
            let said = String::from_utf8_lossy(&answer.body);
            format!("{reason} ({}): {said}", answer.status)
        }
    }
}

/// A mail, and what became of it; for who sent it. The canister keeps the last 100,000 mails.
#[query]
fn mail(id: MailId) -> Option<Mail> {
    mails::get(id).filter(|mail| mail.sender == api::msg_caller())
}

/// The first 100 mails after this one that failed, or of which nobody knows whether they were sent, with the gateway's answers. For the
/// controllers.
#[query(guard = "is_controller")]
fn dead_letters(after: Option<MailId>) -> Result<Vec<Ended>, IdempotencyError> {
    Ok(OUTBOX.dead_letters(after, 100)?)
}

/// Sends a dead letter once more, with its old key: whether it was one. For the controllers.
///
/// If its end is unknown, look whether it has arrived. The gateway recognises the key for 24 hours; later it may arrive twice.
#[update(guard = "is_controller")]
fn resend(id: MailId) -> Result<bool, IdempotencyError> {
    let is_sent = OUTBOX.resend(id)?;
    if is_sent {
        mails::queue_again(id);
    }
    Ok(is_sent)
}

/// Lets a dead letter go: whether it was one. The mail keeps its state. For the controllers.
#[update(guard = "is_controller")]
fn dismiss(id: MailId) -> Result<bool, IdempotencyError> {
    Ok(OUTBOX.dismiss(id)?)
}

/// How the canister does.
#[derive(CandidType, Clone, Debug)]
struct Overview {
    /// What is on its way, what waits for an operator, and why nothing is sent, if that is so.
    outbox: outbox::Overview,
    /// How often mails have ended, and how.
    totals: Totals,
}

/// How the canister does. For the controllers.
#[query(guard = "is_controller")]
fn overview() -> Result<Overview, IdempotencyError> {
    Ok(Overview {
        outbox: OUTBOX.overview()?,
        totals: mails::totals(),
    })
}

fn is_controller() -> Result<(), String> {
    match api::is_controller(&api::msg_caller()) {
        true => Ok(()),
        false => Err("this is for the controllers".to_owned()),
    }
}

#[cfg(test)]
mod interface;
