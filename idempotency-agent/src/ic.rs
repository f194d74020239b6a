//! The Internet Computer, by ic-agent.

use crate::{
    certificate::{ANY_AGE, time},
    end::Reject,
    transport::{Draft, Message, Status, Submitted, Transport, Trouble},
};
use candid::Principal;
use ic_agent::{
    Agent, AgentError, Certificate, Identity, RequestId,
    agent::{
        AgentBuilder, CallResponse, Envelope, EnvelopeContent, RejectResponse,
        RequestStatusResponse,
    },
    hash_tree::Label,
    identity::AnonymousIdentity,
};
use idempotency_core::Timestamp;
use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

/// The Internet Computer, or a replica that speaks its HTTP interface.
///
/// It lets ic-agent verify each certificate: the signature, the delegation, that the subnet is the canister's. How old a certificate is
/// ic-agent would judge by the local clock; that is switched off, as no claim rests on it: an old certificate merely says nothing new.
#[derive(Clone)]
pub struct IcTransport {
    agent: Agent,
    identity: Arc<dyn Identity>,
    timeout: Duration,
    began: Instant,
}

/// What the subnet says of a request.
pub(crate) struct Reading {
    pub(crate) status: Status,
    /// When the certificate was made.
    pub(crate) time: Timestamp,
    /// It is verified, and says this of this request.
    pub(crate) certificate: Certificate,
}

/// How far ahead the expiry of a reading is that is made before any certificate was seen.
const READING: Duration = Duration::from_secs(180);

impl IcTransport {
    /// Makes calls in the name of `identity`. The builder needs a URL; its identity and `ingress_expiry` are set here.
    ///
    /// # Errors
    /// Those of [`AgentBuilder::build`].
    pub fn new(builder: AgentBuilder, identity: Arc<dyn Identity>) -> Result<Self, AgentError> {
        let agent = builder
            .with_arc_identity(identity.clone())
            .with_ingress_expiry(ANY_AGE)
            // Only proofs are asked for by queries, and they are verified themselves.
            .with_verify_query_signatures(false)
            .build()?;
        Ok(Self {
            agent,
            identity,
            timeout: Duration::from_secs(30),
            began: Instant::now(),
        })
    }

    /// How long to wait for one HTTP answer. Default: 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The agent, to set the root key of a network for tests. Don't sign with it: its messages would expire in 100 years.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<T, AgentError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer,
            Err(_) => Err(AgentError::TimeoutWaitingForResponse()),
        }
    }

    /// The identity that signs.
    pub(crate) fn identity(&self) -> &dyn Identity {
        &*self.identity
    }

    /// Reads the status of a request.
    pub(crate) async fn read(
        &self,
        canister: Principal,
        id: [u8; 32],
        expiry: Timestamp,
        identity: &dyn Identity,
    ) -> Result<Reading, Trouble> {
        let content = EnvelopeContent::ReadState {
            ingress_expiry: expiry.as_nanos(),
            sender: identity.sender().map_err(Trouble::NoAnswer)?,
            paths: vec![vec!["request_status".into(), Label::from_bytes(&id)]],
        };
        let bytes = signed(&content, identity).map_err(Trouble::NoAnswer)?;
        let id = RequestId::new(&id);
        let reading = self.agent.request_status_signed(&id, canister, bytes);
        let (status, certificate) = self.in_time(reading).await.map_err(trouble)?;
        Ok(Reading {
            status: status_of(status),
            time: time(&certificate).map_err(trouble)?,
            certificate,
        })
    }
}

impl fmt::Debug for IcTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcTransport")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

impl Transport for IcTransport {
    fn sender(&self) -> Result<Principal, String> {
        self.identity.sender()
    }

    fn sign(&self, draft: Draft<'_>) -> Result<Message, String> {
        let content = EnvelopeContent::Call {
            nonce: Some(Uuid::now_v7().into_bytes().into()),
            ingress_expiry: draft.expiry.as_nanos(),
            sender: self.identity.sender()?,
            canister_id: draft.canister,
            method_name: draft.method.to_owned(),
            arg: draft.arg.to_owned(),
            sender_info: self.identity.sender_info(),
        };
        message(&content, self.identity())
    }

    async fn submit(&self, canister: Principal, message: &Message) -> Result<Submitted, Trouble> {
        let submission = self.agent.update_signed(canister, message.bytes.clone());
        match self.in_time(submission).await {
            Ok(CallResponse::Response(reply)) => Ok(Submitted::Certified(Status::Replied(reply))),
            Ok(CallResponse::Poll(_)) => Ok(Submitted::Accepted),
            Err(AgentError::CertifiedReject { reject, .. }) => {
                Ok(Submitted::Certified(Status::Rejected(of(reject))))
            }
            Err(error) => Err(trouble(error)),
        }
    }

    async fn status(
        &self,
        canister: Principal,
        message: &Message,
        expiry: Timestamp,
    ) -> Result<(Status, Timestamp), Trouble> {
        let reading = self.read(canister, message.id, expiry, self.identity());
        let Reading { status, time, .. } = reading.await?;
        Ok((status, time))
    }

    /// Nobody's status of a request that does not exist: the IC does not compare the expiry of an anonymous reading with its clock, so it
    /// is answered however wrong the local clock is.
    async fn time(&self, canister: Principal) -> Result<Timestamp, Trouble> {
        let local = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let expiry = crate::rules::plus(Timestamp::default(), local + READING);
        let reading = self.read(canister, [0; 32], expiry, &AnonymousIdentity);
        Ok(reading.await?.time)
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A call that is signed.
pub(crate) fn message(
    content: &EnvelopeContent,
    identity: &dyn Identity,
) -> Result<Message, String> {
    Ok(Message {
        id: *content.to_request_id(),
        expiry: Timestamp::from_nanos(content.ingress_expiry()),
        bytes: signed(content, identity)?,
    })
}

fn signed(content: &EnvelopeContent, identity: &dyn Identity) -> Result<Vec<u8>, String> {
    let signature = identity.sign(content)?;
    let envelope = Envelope {
        content: Cow::Borrowed(content),
        sender_pubkey: signature.public_key,
        sender_sig: signature.signature,
        sender_delegation: signature.delegations,
    };
    Ok(envelope.encode_bytes())
}

fn status_of(status: RequestStatusResponse) -> Status {
    match status {
        RequestStatusResponse::Unknown => Status::Absent,
        RequestStatusResponse::Received => Status::Received,
        RequestStatusResponse::Processing => Status::Processing,
        RequestStatusResponse::Replied(reply) => Status::Replied(reply.arg),
        RequestStatusResponse::Rejected(reject) => Status::Rejected(of(reject)),
        RequestStatusResponse::Done => Status::Done,
    }
}

fn of(reject: RejectResponse) -> Reject {
    Reject {
        code: reject.reject_code as u8,
        message: reject.reject_message,
        error_code: reject.error_code,
    }
}

/// None of these proves anything.
fn trouble(error: AgentError) -> Trouble {
    match error {
        AgentError::UncertifiedReject { reject, .. } => Trouble::NotTaken(of(reject)),
        AgentError::HttpError(payload) => Trouble::Http {
            status: payload.status,
            message: String::from_utf8_lossy(&payload.content)
                .chars()
                .take(1_000)
                .collect(),
        },
        AgentError::TimeoutWaitingForResponse()
        | AgentError::TransportError(_)
        | AgentError::RouteProviderError(_) => Trouble::Unreachable(error.to_string()),
        error => Trouble::Certificate(error.to_string()),
    }
}
