//! Requests that are not what they say, and bytes that are no requests.

use std::borrow::Cow;

use ic_agent::Identity;
use ic_agent::agent::EnvelopeContent;
use ic_agent::identity::{AnonymousIdentity, DelegatedIdentity, Delegation, SignedDelegation};
use ic_transport_types::Envelope;
use ic_transport_types::signed::SignedUpdate;

use crate::world::{World, counter_wasm, identity, install};

async fn signed(world: &World) -> SignedUpdate {
    let agent = world.agent(1).await;
    agent.update(&world.canister, "inc").sign().unwrap()
}

/// The envelope that was signed.
fn opened(call: &SignedUpdate) -> Envelope<'static> {
    let content = EnvelopeContent::Call {
        nonce: call.nonce.clone(),
        ingress_expiry: call.ingress_expiry,
        sender: call.sender,
        canister_id: call.canister_id,
        method_name: call.method_name.clone(),
        arg: call.arg.clone(),
        sender_info: None,
    };
    let signature = identity(1).sign(&content).unwrap();
    let envelope = Envelope {
        content: Cow::Owned(content),
        sender_pubkey: signature.public_key,
        sender_sig: signature.signature,
        sender_delegation: None,
    };
    assert_eq!(envelope.encode_bytes(), call.signed_update);
    envelope
}

/// Sends an envelope; what a text says why it is refused.
async fn refused(world: &World, call: &SignedUpdate, envelope: &Envelope<'_>) -> String {
    let mut call = call.clone();
    call.signed_update = envelope.encode_bytes();
    let (status, text) = world.submit(&call).await;
    assert_eq!(status, 400, "{text}");
    text
}

#[tokio::test]
async fn signatures_are_checked() {
    let world = World::live().await;
    let call = signed(&world).await;
    let envelope = opened(&call);
    let other = identity(2).sign(&envelope.content).unwrap();

    let mut wrong = envelope.clone();
    wrong.sender_sig.as_mut().unwrap()[10] ^= 1;
    assert!(
        refused(&world, &call, &wrong)
            .await
            .contains("Invalid signature")
    );
    let mut wrong = envelope.clone();
    wrong.sender_sig = other.signature.clone();
    assert!(
        refused(&world, &call, &wrong)
            .await
            .contains("Invalid signature")
    );
    let mut wrong = envelope.clone();
    (wrong.sender_pubkey, wrong.sender_sig) = (other.public_key, other.signature);
    assert!(
        refused(&world, &call, &wrong)
            .await
            .contains("does not match the public key")
    );
    let mut wrong = envelope.clone();
    (wrong.sender_pubkey, wrong.sender_sig) = (None, None);
    assert!(
        refused(&world, &call, &wrong)
            .await
            .contains("Missing signature")
    );
    let mut wrong = envelope.clone();
    wrong.sender_pubkey = None;
    assert!(
        refused(&world, &call, &wrong)
            .await
            .contains("Missing signature")
    );
    let mut wrong = envelope.clone();
    let EnvelopeContent::Call { sender, .. } = &mut *wrong.content.to_mut() else {
        panic!("a call");
    };
    *sender = candid::Principal::anonymous();
    assert_eq!(
        refused(&world, &call, &wrong).await,
        "Signature is not allowed for the anonymous user."
    );
    let mut wrong = envelope.clone();
    let EnvelopeContent::Call { nonce, .. } = &mut *wrong.content.to_mut() else {
        panic!("a call");
    };
    *nonce = Some(vec![1; 33]);
    wrong.sender_sig = identity(1).sign(&wrong.content).unwrap().signature;
    assert_eq!(
        refused(&world, &call, &wrong).await,
        "Nonce in request is too big: got 33 bytes, but at most 32 are allowed."
    );
    let mut wrong = envelope;
    let EnvelopeContent::Call { method_name, .. } = &mut *wrong.content.to_mut() else {
        panic!("a call");
    };
    *method_name = "get".to_owned();
    assert!(
        refused(&world, &call, &wrong)
            .await
            .contains("Invalid signature")
    );
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn keys_of_other_kinds_are_refused_in_words() {
    let world = World::live().await;
    let call = signed(&world).await;
    let mut envelope = opened(&call);
    let key = vec![9; 44];
    let EnvelopeContent::Call { sender, .. } = envelope.content.to_mut() else {
        panic!("a call");
    };
    *sender = candid::Principal::self_authenticating(&key);
    envelope.sender_pubkey = Some(key);
    let text = refused(&world, &call, &envelope).await;
    assert!(text.contains("not supported by local-replica"), "{text}");
}

#[tokio::test]
async fn request_for_another_canister_is_refused() {
    let world = World::live().await;
    let other = install(&world.pic, counter_wasm()).await;
    let mut call = signed(&world).await;
    call.effective_canister_id = other;
    let (status, text) = world.submit(&call).await;
    assert_eq!(status, 400);
    assert!(
        text.contains("does not match effective canister id"),
        "{text}"
    );
    let query = world
        .agent(1)
        .await
        .query(&world.canister, "get")
        .sign()
        .unwrap();
    for version in ["v2", "v3"] {
        let path = format!("api/{version}/canister/{other}/query");
        let (status, _) = world.post(&path, query.signed_query.clone()).await;
        assert_eq!(status, 400);
    }
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn request_of_another_kind_is_refused() {
    let world = World::live().await;
    let call = signed(&world).await;
    for path in [
        "v3/canister/ID/read_state",
        "v3/canister/ID/query",
        "v2/canister/ID/read_state",
    ] {
        let path = format!("api/{}", path.replace("ID", &world.canister.to_text()));
        let (status, body) = world.post(&path, call.signed_update.clone()).await;
        assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body));
    }
    for (path, code) in [
        ("api/v9/canister/aaaaa-aa/call", 404),
        ("api/v2/canister/nobody/call", 400),
    ] {
        assert_eq!(world.post(path, call.signed_update.clone()).await.0, code);
    }
}

#[tokio::test]
async fn delegations_are_followed_to_their_targets() {
    let world = World::live().await;
    let other = install(&world.pic, counter_wasm()).await;
    let delegated = |targets, expiration| {
        let delegation = Delegation {
            pubkey: identity(2).public_key().unwrap(),
            expiration,
            targets,
            permissions: None,
        };
        let signature = identity(1).sign_delegation(&delegation).unwrap();
        let signed = SignedDelegation {
            delegation,
            signature: signature.signature.unwrap(),
        };
        let key = identity(1).public_key().unwrap();
        DelegatedIdentity::new(key, Box::new(identity(2)), vec![signed]).unwrap()
    };
    let agent = world
        .agent_as(delegated(Some(vec![world.canister]), u64::MAX))
        .await;
    let caller = agent.update(&world.canister, "whoami").await.unwrap();
    assert_eq!(caller, identity(1).sender().unwrap().as_slice());
    assert!(agent.update(&other, "whoami").await.is_err(), "no target");
    let agent = world
        .agent_as(delegated(None, 1_700_000_000_000_000_000))
        .await;
    assert!(
        agent.update(&world.canister, "whoami").await.is_err(),
        "expired"
    );
}

#[tokio::test]
async fn damaged_bytes_are_refused_and_harm_nobody() {
    let world = World::live().await;
    let call = signed(&world).await;
    let path = format!("api/v2/canister/{}/call", world.canister);
    for length in 0..call.signed_update.len() {
        let (status, _) = world
            .post(&path, call.signed_update[..length].to_vec())
            .await;
        assert_eq!(status, 400, "the first {length} bytes");
    }
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..400 {
        let mut bytes = call.signed_update.clone();
        // The first three say but that it is CBOR.
        let at = random.usize(3..bytes.len());
        bytes[at] ^= random.u8(1..=255);
        let (status, _) = world.post(&path, bytes).await;
        assert_eq!(status, 400, "byte {at}");
    }
    for bytes in [
        // Nested very deeply, and longer than it is.
        vec![0x81; 100_000],
        vec![0xd9; 1_000],
        vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        Vec::new(),
    ] {
        for operation in ["call", "query", "read_state"] {
            let path = format!("api/v2/canister/{}/{operation}", world.canister);
            assert_eq!(world.post(&path, bytes.clone()).await.0, 400);
        }
    }
    assert_eq!(world.count().await, 0);
    let agent = world.agent_as(AnonymousIdentity).await;
    agent.update(&world.canister, "inc").await.unwrap();
}
