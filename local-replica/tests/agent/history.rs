//! What becomes of a request: executed once, remembered for some minutes, then unknown and too late to be sent again.

use std::time::{Duration, SystemTime};

use ic_agent::agent::{CallResponse, RequestStatusResponse};
use ic_agent::{AgentError, RequestId};
use ic_certification::LookupResult;
use ic_transport_types::signed::SignedUpdate;
use local_replica::faults::{Plan, Rates};

use crate::world::{World, identity, number, path};

/// The status that the state tree has for its sender, whatever the time is.
async fn status(world: &World, user: u8, id: &RequestId) -> Option<String> {
    let paths = vec![path([b"request_status", id.as_slice()])];
    let certificate = world.read_state(&identity(user), paths).await.unwrap();
    let status = [b"request_status".as_slice(), id.as_slice(), b"status"];
    match certificate.tree.lookup_path(status) {
        LookupResult::Found(status) => Some(String::from_utf8(status.to_vec()).unwrap()),
        LookupResult::Absent => None,
        other => panic!("{other:?}"),
    }
}

async fn signed(world: &World, user: u8) -> SignedUpdate {
    signed_for(world, user, "inc").await
}

async fn signed_for(world: &World, user: u8, method: &str) -> SignedUpdate {
    let agent = world.agent(user).await;
    agent.update(&world.canister, method).sign().unwrap()
}

#[tokio::test]
async fn request_is_processing_until_it_is_answered() {
    let world = World::at_rest().await;
    let call = signed_for(&world, 1, "wait").await;
    world.submit(&call).await;
    world.pic.tick().await;
    let id = &call.request_id;
    assert_eq!(status(&world, 1, id).await.as_deref(), Some("processing"));
    // However long that takes.
    world.pic.advance_time(Duration::from_secs(900)).await;
    assert_eq!(status(&world, 1, id).await.as_deref(), Some("processing"));
    for _ in 0..3 {
        world.pic.tick().await;
    }
    assert_eq!(status(&world, 1, id).await.as_deref(), Some("replied"));
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn lost_answer_leaves_the_request_in_processing() {
    let world = World::live().await;
    let rates = Rates {
        lose_ingress_answer: 1_000_000,
        ..Rates::default()
    };
    let plan = serde_json::to_string(&Plan::Seeded { seed: 1, rates }).unwrap();
    world.hook("faults", &plan).await;
    world.hook("call_timeout", r#"{"millis": 100}"#).await;
    let agent = world.agent(1).await;
    let call = signed(&world, 1).await;
    let answer = agent
        .update_signed(world.canister, call.signed_update)
        .await;
    assert!(matches!(answer.unwrap(), CallResponse::Poll(_)));
    assert_eq!(world.count().await, 1, "it ran");
    let id = &call.request_id;
    assert_eq!(status(&world, 1, id).await.as_deref(), Some("processing"));
}

#[tokio::test]
async fn same_bytes_run_once() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    let call = signed(&world, 1).await;
    for _ in 0..3 {
        let answer = agent
            .update_signed(world.canister, call.signed_update.clone())
            .await
            .unwrap();
        let CallResponse::Response(reply) = answer else {
            panic!("it was answered in time");
        };
        assert_eq!(number(&reply), 1, "the first answer");
        assert_eq!(world.submit(&call).await.0, 202);
    }
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn same_bytes_sent_twice_before_a_round_run_once() {
    let world = World::at_rest().await;
    let call = signed(&world, 1).await;
    for _ in 0..2 {
        assert_eq!(world.submit(&call).await.0, 202);
    }
    assert_eq!(
        status(&world, 1, &call.request_id).await,
        None,
        "no round yet"
    );
    world.pic.tick().await;
    world.pic.tick().await;
    let replied = Some("replied".to_owned());
    assert_eq!(status(&world, 1, &call.request_id).await, replied);
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn status_ends_after_the_expiry_and_the_request_with_it() {
    let world = World::at_rest().await;
    let call = signed(&world, 1).await;
    world.submit(&call).await;
    world.pic.tick().await;
    world.pic.advance_time(Duration::from_secs(299)).await;
    world.pic.tick().await;
    let id = &call.request_id;
    assert_eq!(status(&world, 1, id).await.as_deref(), Some("replied"));
    world.pic.advance_time(Duration::from_secs(61)).await;
    world.pic.tick().await;
    assert_eq!(status(&world, 1, id).await, None);
    let (code, text) = world.submit(&call).await;
    assert_eq!(code, 400, "{text}");
    assert!(text.starts_with("Invalid request expiry: "), "{text}");
    world.pic.tick().await;
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn what_expires_before_a_round_takes_it_in_never_runs() {
    let world = World::at_rest().await;
    let call = signed(&world, 1).await;
    assert_eq!(world.submit(&call).await.0, 202);
    world.pic.advance_time(Duration::from_secs(400)).await;
    world.pic.tick().await;
    assert_eq!(status(&world, 1, &call.request_id).await, None);
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn expiry_is_that_of_the_replicas_clock() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    world.pic.advance_time(Duration::from_secs(600)).await;
    let early = agent.update(&world.canister, "inc").await;
    let read = agent.read_state_canister_module_hash(world.canister).await;
    for refused in [early, read] {
        let Err(AgentError::HttpError(error)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(error.status, 400);
        let text = String::from_utf8(error.content).unwrap();
        assert!(text.starts_with("Invalid request expiry: "), "{text}");
    }
    let far = agent
        .update(&world.canister, "inc")
        .expire_after(Duration::from_secs(600 + 420))
        .await;
    assert!(matches!(far, Err(AgentError::HttpError(_))), "{far:?}");
    let later = agent
        .update(&world.canister, "inc")
        .expire_after(Duration::from_secs(840));
    assert_eq!(number(&later.await.unwrap()), 1);
}

#[tokio::test]
async fn done_is_what_is_left_of_a_dropped_reply() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    let call = signed(&world, 1).await;
    let answer = agent
        .update_signed(world.canister, call.signed_update.clone())
        .await;
    assert!(matches!(answer.unwrap(), CallResponse::Response(_)));
    world.hook("drop_replies", "null").await;
    let status = agent
        .request_status_raw(&call.request_id, world.canister)
        .await;
    assert_eq!(status.unwrap().0, RequestStatusResponse::Done);
    let again = agent
        .update_signed(world.canister, call.signed_update)
        .await;
    assert!(matches!(again.unwrap(), CallResponse::Poll(_)));
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn clock_of_a_live_instance_can_be_ahead() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    world.hook("clock", r#"{"offset_ms": 600000}"#).await;
    let ahead = SystemTime::now() + Duration::from_secs(590);
    while SystemTime::try_from(world.pic.get_time().await).unwrap() < ahead {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let early = agent.update(&world.canister, "inc").await;
    assert!(matches!(early, Err(AgentError::HttpError(_))), "{early:?}");
    let later = agent
        .update(&world.canister, "inc")
        .expire_after(Duration::from_secs(840));
    assert_eq!(number(&later.await.unwrap()), 1);
}

#[tokio::test]
async fn clock_of_a_live_instance_can_be_behind() {
    let mut world = World::at_genesis().await;
    world.hook("clock", r#"{"offset_ms": -120000}"#).await;
    world.url = world.pic.make_live(None).await.to_string();
    let agent = world.agent(1).await;
    // Four minutes by the agent's clock are six by the replica's.
    agent.update(&world.canister, "inc").await.unwrap();
    let far = agent
        .update(&world.canister, "inc")
        .expire_after(Duration::from_secs(360));
    let far = far.await;
    assert!(matches!(far, Err(AgentError::HttpError(_))), "{far:?}");
    assert_eq!(world.count().await, 1);
}
