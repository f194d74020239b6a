//! An instance, the canister on it, and agents.

use std::sync::LazyLock;
use std::time::SystemTime;

use candid::Principal;
use ic_agent::agent::EnvelopeContent;
use ic_agent::identity::{AnonymousIdentity, BasicIdentity};
use ic_agent::{Agent, Identity};
use ic_cbor::CertificateToCbor;
use ic_certification::{Certificate, Label};
use ic_transport_types::signed::SignedUpdate;
use pocket_ic::PocketIcBuilder;
use pocket_ic::nonblocking::PocketIc;

const MINUTE_NS: u64 = 60_000_000_000;

static COUNTER: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(include_str!("counter.wat")).expect("valid WAT"));

pub(crate) fn builder() -> PocketIcBuilder {
    PocketIcBuilder::new().with_server_binary(env!("CARGO_BIN_EXE_local-replica").into())
}

/// An instance with the counter on it.
pub(crate) struct World {
    pub(crate) pic: PocketIc,
    pub(crate) canister: Principal,
    /// Below which `api` is found.
    pub(crate) url: String,
}

impl World {
    /// One that executes rounds by itself; agents come through its gateway.
    pub(crate) async fn live() -> Self {
        let mut world = Self::at_rest().await;
        world.url = world.pic.make_live(None).await.to_string();
        world
    }

    /// One that stands still, at the present time; agents come through the server's own port.
    pub(crate) async fn at_rest() -> Self {
        let world = Self::at_genesis().await;
        let now = SystemTime::now().into();
        world.pic.set_certified_time(now).await;
        world
    }

    /// One that stands still, years ago.
    pub(crate) async fn at_genesis() -> Self {
        let pic = builder().with_application_subnet().build_async().await;
        let canister = install(&pic, COUNTER.clone()).await;
        let url = format!("{}instances/{}/", pic.get_server_url(), pic.instance_id);
        Self { pic, canister, url }
    }

    /// An agent with an Ed25519 key that follows from the number.
    pub(crate) async fn agent(&self, user: u8) -> Agent {
        self.agent_as(identity(user)).await
    }

    pub(crate) async fn anonymous(&self) -> Agent {
        self.agent_as(AnonymousIdentity).await
    }

    pub(crate) async fn agent_as(&self, identity: impl Identity + 'static) -> Agent {
        let agent = Agent::builder()
            .with_url(&self.url)
            .with_identity(identity)
            .build()
            .expect("an agent");
        agent.fetch_root_key().await.expect("a root key");
        agent
    }

    /// How often `inc` has run.
    pub(crate) async fn count(&self) -> u32 {
        let reply = self
            .pic
            .query_call(self.canister, Principal::anonymous(), "get", Vec::new())
            .await;
        number(&reply.expect("a reply"))
    }

    /// Sends bytes to a path below the instance: status and body.
    pub(crate) async fn post(&self, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        post(&format!("{}{path}", self.url), body).await
    }

    /// Sends a call, without waiting for its answer.
    pub(crate) async fn submit(&self, call: &SignedUpdate) -> (u16, String) {
        let path = format!("api/v2/canister/{}/call", call.effective_canister_id);
        let (status, body) = self.post(&path, call.signed_update.clone()).await;
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Reads the state with a request that expires at the replica's time plus a minute.
    pub(crate) async fn read_state(
        &self,
        identity: &impl Identity,
        paths: Vec<Vec<Label>>,
    ) -> Result<Certificate, (u16, String)> {
        self.read_state_of("v3", identity, paths).await
    }

    /// The same, through the route of a version.
    pub(crate) async fn read_state_of(
        &self,
        version: &str,
        identity: &impl Identity,
        paths: Vec<Vec<Label>>,
    ) -> Result<Certificate, (u16, String)> {
        let now_ns = self.pic.get_time().await.as_nanos_since_unix_epoch();
        let content = EnvelopeContent::ReadState {
            ingress_expiry: now_ns + MINUTE_NS,
            sender: identity.sender().expect("a sender"),
            paths,
        };
        let path = format!("api/{version}/canister/{}/read_state", self.canister);
        let (status, body) = self.post(&path, sign(identity, &content)).await;
        if status != 200 {
            return Err((status, String::from_utf8_lossy(&body).into_owned()));
        }
        let response: ic_transport_types::ReadStateResponse =
            ciborium::from_reader(body.as_slice()).expect("a response");
        Ok(certificate(&response.certificate))
    }

    /// Sends a body in JSON to one of the server's own operations.
    pub(crate) async fn hook(&self, operation: &str, body: &str) {
        let url = format!(
            "{}instances/{}/local-replica/{operation}",
            self.pic.get_server_url(),
            self.pic.instance_id
        );
        let response = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200, "{operation}");
    }
}

pub(crate) async fn post(url: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let response = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/cbor")
        .body(body)
        .send()
        .await
        .expect("an answer");
    let status = response.status().as_u16();
    (status, response.bytes().await.expect("a body").to_vec())
}

pub(crate) async fn install(pic: &PocketIc, wasm: Vec<u8>) -> Principal {
    let id = pic.create_canister().await;
    pic.install_canister(id, wasm, Vec::new(), None).await;
    id
}

pub(crate) fn counter_wasm() -> Vec<u8> {
    COUNTER.clone()
}

pub(crate) fn identity(user: u8) -> BasicIdentity {
    BasicIdentity::from_raw_key(&[user; 32])
}

/// An envelope with the identity's signature.
pub(crate) fn sign(identity: &impl Identity, content: &EnvelopeContent) -> Vec<u8> {
    let signature = identity.sign(content).expect("a signature");
    ic_transport_types::Envelope {
        content: std::borrow::Cow::Borrowed(content),
        sender_pubkey: signature.public_key,
        sender_sig: signature.signature,
        sender_delegation: signature.delegations,
    }
    .encode_bytes()
}

pub(crate) fn certificate(bytes: &[u8]) -> Certificate {
    Certificate::from_cbor(bytes).expect("a certificate")
}

pub(crate) fn number(reply: &[u8]) -> u32 {
    u32::from_le_bytes(reply.try_into().expect("four bytes"))
}

/// A path of the state tree.
pub(crate) fn path<const N: usize>(labels: [&[u8]; N]) -> Vec<Label> {
    labels.map(Label::from).into()
}
