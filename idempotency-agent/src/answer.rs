//! A canister's certified answer to the question what became of calls, kept so that others can read it: years later, with nothing but the
//! root key of the Internet Computer.

use crate::{
    certificate::{self, time},
    end::{End, Reject},
    ic::{IcTransport, Reading, message},
    machine::{Action, Event, Machine, Pace},
    reply::decode,
    request::Terms,
    transport::{Status, Submitted, Transport as _, Trouble},
};
use candid::{CandidType, Principal};
use ic_agent::{AgentError, Certificate, RequestId, agent::EnvelopeContent, lookup_value};
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::{Asked, Outcome},
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::time::Duration;
use uuid::Uuid;

/// An update by which somebody asked a canister what became of calls, and the subnet's certificate of the answer. It is read with
/// [`verified`](Self::verified), at any time.
///
/// The fields before the certificate are the whole content of the request: the certificate speaks of the hash of these. It may be shown to
/// whoever may know the calls, their arguments and their replies: it has no signature, and nobody can send the request again with it.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct CertifiedAnswer {
    /// The canister that was asked.
    pub canister: Principal,
    /// By which of its methods.
    pub method: String,
    /// The argument in candid: the calls.
    pub arg: ByteBuf,
    /// Who asked.
    pub sender: Principal,
    /// What makes it another request than the same question before.
    pub nonce: Option<ByteBuf>,
    /// The last instant at which the question could begin. It was asked at most 6 minutes before that.
    pub ingress_expiry: Timestamp,
    /// The certificate of the request's end, in CBOR.
    pub certificate: ByteBuf,
}

/// What a canister has answered. Whoever reads an answer that others have kept compares [`canister`](Self::canister),
/// [`method`](Self::method) and [`sender`](Self::sender) with those that it means: *some* canister gives any answer that one likes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// The canister that has answered.
    pub canister: Principal,
    /// The method that has answered.
    pub method: String,
    /// Who asked, by a signature that the subnet has checked. In a store with `scope = caller` the outcomes are of *this* principal's calls,
    /// and say nothing of the same calls by others.
    pub sender: Principal,
    /// The calls that it was asked about.
    pub calls: Vec<Asked>,
    /// What became of each, in the same order. `Done` and `ReplyDropped` stay true for ever. `Absent` is true as of its `as_of`, and proves what
    /// its [`Verdict`](idempotency_core::outcome::Verdict) says. An `Err` proves nothing of what became of the call: with the code 8 an
    /// archive could not be asked.
    pub outcomes: Vec<Result<Outcome, IdempotencyError>>,
    /// When the certificate was made, by the subnet's clock: the canister had answered by then.
    pub time: Timestamp,
}

/// Why there is no certified answer. None of these says anything of the calls.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The question could not be signed or sent, or its end was not seen in time. It may be asked again.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The bytes are no certificate in CBOR.
    #[error("this is no certificate: {0}")]
    NoCertificate(String),
    /// It is signed by a subnet that does not have this canister.
    #[error("the certificate is of another canister's subnet")]
    OtherSubnet,
    /// Its signatures don't lead back to this root key, or it has no time.
    #[error("the certificate is nobody's word: {0}")]
    Unsigned(AgentError),
    /// It shows nothing of this request: it is another request's, or canister, method, argument, sender, nonce or expiry were changed.
    #[error("the certificate does not speak of this request")]
    OtherRequest,
    /// The request had not ended when the certificate was made.
    #[error("the request had not ended")]
    NotEnded,
    /// It has ended with a reply, which the certificate does not show: it was taken out, or the subnet had dropped it.
    #[error("the certificate lacks the reply")]
    NoReply,
    /// It was rejected: by the canister, or as it has no such method, say.
    #[error("rejected: {0}")]
    Rejected(Reject),
    /// The question or the reply is no candid of this interface, or there are more or fewer outcomes than calls. Ask about fewer calls: a
    /// canister may answer the first ones only.
    #[error("the answer can't be read: {0}")]
    Unreadable(String),
}

impl From<candid::Error> for AnswerError {
    fn from(error: candid::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// How the question is asked.
const PACE: Pace = Pace {
    deadline: Duration::from_secs(300),
    lifetime: Duration::from_secs(120),
    poll: Duration::from_millis(500),
    resubmit: Duration::from_secs(30),
    messages: 1,
};

impl IcTransport {
    /// Asks a canister by an update what became of calls, and keeps the certificate of its answer: `method` is `idempotency_outcomes_ever`,
    /// say, which asks the canister's archives, too; or `idempotency_outcomes`, where there are none.
    ///
    /// Takes as long as an update, and costs the canister one; two minutes at most until the question begins or never will, and five in all.
    /// What comes back is read as others will read it: by [`CertifiedAnswer::verified`].
    ///
    /// # Errors
    /// [`AnswerError`]: it may be asked again, as often as one likes.
    pub async fn certified_answer(
        &self,
        canister: Principal,
        method: &str,
        calls: &[Asked],
    ) -> Result<(Answered, CertifiedAnswer), AnswerError> {
        let mut answer = CertifiedAnswer {
            canister,
            method: method.to_owned(),
            arg: candid::encode_one(calls)?.into(),
            sender: self.sender().map_err(AnswerError::NoAnswer)?,
            nonce: Some(ByteBuf::from(Uuid::now_v7().into_bytes())),
            ingress_expiry: Timestamp::default(),
            certificate: ByteBuf::new(),
        };
        let now = self.elapsed();
        let mut machine = Machine::new(Terms::PLAIN, vec![], PACE, Default::default(), now);
        loop {
            let event = match machine.next(self.elapsed()) {
                Action::ReadTime => self.time(canister).await.map(Event::Time),
                Action::Sign(expiry) => {
                    answer.ingress_expiry = expiry;
                    let message = message(&answer.content(), self.identity());
                    Ok(Event::Signed(message.map_err(AnswerError::NoAnswer)?))
                }
                // A certified answer to that is read once more: ic-agent does not give its certificate away.
                Action::Submit(message) => (self.submit(canister, &message).await)
                    .map(|_| Event::Submitted(Submitted::Accepted)),
                Action::Poll(message, expiry) => {
                    let reading = self.read(canister, message.id, expiry, self.identity());
                    match reading.await {
                        Ok(reading) if has_ended(&reading.status) => {
                            answer.certificate = certificate::encoded(&reading.certificate).into();
                            let root_key = self.agent().read_root_key();
                            return Ok((answer.verified(&root_key)?, answer));
                        }
                        Ok(Reading { status, time, .. }) => Ok(Event::Status(status, time)),
                        Err(trouble) => Err(trouble),
                    }
                }
                Action::Wait(time) => {
                    self.sleep(time).await;
                    continue;
                }
                Action::End(End::StillUnknown { why, .. }) => {
                    return Err(AnswerError::NoAnswer(why));
                }
                end @ (Action::End(_) | Action::Ask(_) | Action::Search) => {
                    return Err(AnswerError::NoAnswer(format!("{end:?}")));
                }
            };
            let event = event.unwrap_or_else(|trouble: Trouble| Event::Trouble(trouble));
            machine.event(event, self.elapsed());
        }
    }
}

fn has_ended(status: &Status) -> bool {
    matches!(
        status,
        Status::Replied(_) | Status::Rejected(_) | Status::Done
    )
}

impl CertifiedAnswer {
    /// What the canister has answered, if it has. That needs no network, and no more than `root_key`, in DER: the Internet Computer's is that
    /// of an [`Agent`](ic_agent::Agent::read_root_key) to which no other was given. How old the answer is does not matter. Takes some
    /// milliseconds.
    ///
    /// # Errors
    /// [`AnswerError`], but for `NoAnswer`.
    pub fn verified(&self, root_key: &[u8]) -> Result<Answered, AnswerError> {
        let certificate =
            certificate::decoded(&self.certificate).map_err(AnswerError::NoCertificate)?;
        certificate::verify(&certificate, self.canister, root_key).map_err(
            |error| match error {
                AgentError::CertificateNotAuthorized() => AnswerError::OtherSubnet,
                error => AnswerError::Unsigned(error),
            },
        )?;
        let reply = reply(&certificate, &self.content().to_request_id())?;
        let outcomes: Vec<Result<Outcome, IdempotencyError>> = decode(reply)?;
        let calls: Vec<Asked> = decode(&self.arg)?;
        if outcomes.len() != calls.len() {
            let (outcomes, calls) = (outcomes.len(), calls.len());
            let numbers = format!("{outcomes} outcomes of {calls} calls");
            return Err(AnswerError::Unreadable(numbers));
        }
        Ok(Answered {
            canister: self.canister,
            method: self.method.clone(),
            sender: self.sender,
            calls,
            outcomes,
            time: time(&certificate).map_err(AnswerError::Unsigned)?,
        })
    }

    /// The request, as it was signed. There was nothing in it that the fields don't have: no information on the sender is sent with it.
    fn content(&self) -> EnvelopeContent {
        EnvelopeContent::Call {
            nonce: self.nonce.clone().map(ByteBuf::into_vec),
            ingress_expiry: self.ingress_expiry.as_nanos(),
            sender: self.sender,
            canister_id: self.canister,
            method_name: self.method.clone(),
            arg: self.arg.to_vec(),
            sender_info: None,
        }
    }
}

/// The reply to a request, by a certificate that is the subnet's word.
fn reply<'a>(certificate: &'a Certificate, id: &RequestId) -> Result<&'a [u8], AnswerError> {
    let value =
        |name: &str| lookup_value(certificate, [b"request_status", &id[..], name.as_bytes()]);
    let text = |name| value(name).map(|text| String::from_utf8_lossy(text).into_owned());
    match value("status") {
        Ok(b"replied") => value("reply").map_err(|_| AnswerError::NoReply),
        Ok(b"done") => Err(AnswerError::NoReply),
        Ok(b"rejected") => Err(AnswerError::Rejected(Reject {
            code: (value("reject_code").ok().and_then(|it| it.first().copied())).unwrap_or(0),
            message: text("reject_message").unwrap_or_default(),
            error_code: text("error_code").ok(),
        })),
        Ok(_) => Err(AnswerError::NotEnded),
        Err(_) => Err(AnswerError::OtherRequest),
    }
}
