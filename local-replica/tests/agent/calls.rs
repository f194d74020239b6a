//! Update calls: answered at once with a certificate, or polled for.

use std::time::Duration;

use candid::Principal;
use ic_agent::agent::CallResponse;
use ic_agent::identity::Secp256k1Identity;
use ic_agent::{Agent, AgentError, Identity};
use ic_management_canister_types::{
    CanisterIdRecord, CanisterStatusResult, ProvisionalCreateCanisterWithCyclesArgs,
};

use crate::world::{World, identity, number};

#[tokio::test]
async fn call_is_answered_with_a_certificate() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    let reply = agent.update(&world.canister, "inc").call().await.unwrap();
    let CallResponse::Response((reply, certificate)) = reply else {
        panic!("it was answered in time: {reply:?}");
    };
    assert_eq!(number(&reply), 1);
    agent.verify(&certificate, world.canister).unwrap();
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn caller_is_who_signed() {
    let world = World::live().await;
    let key = k256::SecretKey::from_slice(&[7; 32]).unwrap();
    let ecdsa = Secp256k1Identity::from_private_key(key);
    let principal = ecdsa.sender().unwrap();
    let agents = [
        (world.agent(1).await, identity(1).sender().unwrap()),
        (world.agent_as(ecdsa).await, principal),
        (world.anonymous().await, candid::Principal::anonymous()),
    ];
    for (agent, caller) in agents {
        let reply = agent.update(&world.canister, "whoami").await.unwrap();
        assert_eq!(reply, caller.as_slice());
    }
}

#[tokio::test]
async fn call_that_is_not_answered_in_time_is_polled_for() {
    let world = World::live().await;
    world.hook("call_timeout", r#"{"millis": 0}"#).await;
    world.pic.stop_progress().await;
    let agent = world.agent(1).await;
    let answer = agent.update(&world.canister, "inc").call().await.unwrap();
    let CallResponse::Poll(id) = answer else {
        panic!("nothing has executed it: {answer:?}");
    };
    world.pic.auto_progress().await;
    let (reply, _) = agent.wait(&id, world.canister).await.unwrap();
    assert_eq!(number(&reply), 1);
}

#[tokio::test]
async fn call_of_the_second_version_is_polled_for() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    let call = agent.update(&world.canister, "inc").sign().unwrap();
    assert_eq!(world.submit(&call).await, (202, String::new()));
    let (reply, _) = agent.wait(&call.request_id, world.canister).await.unwrap();
    assert_eq!(number(&reply), 1);
}

#[tokio::test]
async fn call_waits_for_a_round_that_somebody_else_makes() {
    let world = World::at_rest().await;
    let agent = world.agent(1).await;
    let call = agent.update(&world.canister, "inc");
    let ticks = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.pic.tick().await;
        }
    };
    let reply = tokio::select! {
        reply = call.call() => reply,
        () = ticks => unreachable!("they go on for ever"),
    };
    assert!(matches!(reply.unwrap(), CallResponse::Response(_)));
}

#[tokio::test]
async fn many_calls_at_once_are_each_answered_once() {
    const CALLS: u32 = 64;
    let world = World::live().await;
    let agent = world.agent(1).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..CALLS {
        let (agent, canister) = (agent.clone(), world.canister);
        calls.spawn(async move { agent.update(&canister, "inc").await });
    }
    let replies = calls.join_all().await;
    let mut counts: Vec<u32> = replies
        .into_iter()
        .map(|reply| number(&reply.unwrap()))
        .collect();
    counts.sort_unstable();
    assert!(counts.into_iter().eq(1..=CALLS));
}

#[tokio::test]
async fn rejects_are_certified() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    for (method, code, text) in [
        ("refuse", "IC0406", "no, thank you"),
        ("fail", "IC0503", "on purpose"),
        ("missing", "IC0536", "has no update method"),
    ] {
        let error = agent.update(&world.canister, method).await.unwrap_err();
        let AgentError::CertifiedReject { reject, .. } = error else {
            panic!("{method}: {error}");
        };
        assert_eq!(reject.error_code.as_deref(), Some(code), "{method}");
        assert!(reject.reject_message.contains(text), "{reject:?}");
    }
    assert_eq!(world.count().await, 0);
}

/// Asks for a canister's status, with a URL that names one.
async fn status(
    agent: &Agent,
    canister_id: Principal,
    url: Principal,
) -> Result<Vec<u8>, AgentError> {
    let record = CanisterIdRecord { canister_id };
    agent
        .update(&Principal::management_canister(), "canister_status")
        .with_arg(candid::encode_one(record).unwrap())
        .with_effective_canister_id(url)
        .await
}

#[tokio::test]
async fn canisters_are_made_and_managed_through_the_agent() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    let management = Principal::management_canister();
    let create = "provisional_create_canister_with_cycles";
    let args = candid::encode_one(ProvisionalCreateCanisterWithCyclesArgs::default()).unwrap();
    let reply = agent
        .update(&management, create)
        .with_arg(args)
        .with_effective_canister_id(world.canister)
        .await
        .unwrap();
    let record: CanisterIdRecord = candid::decode_one(&reply).unwrap();
    let id = record.canister_id;
    let reply = status(&agent, id, id).await.unwrap();
    let result: CanisterStatusResult = candid::decode_one(&reply).unwrap();
    let controllers = result.settings.controllers;
    assert_eq!(controllers, [identity(1).sender().unwrap()]);
    let elsewhere = status(&agent, id, world.canister).await;
    assert!(
        matches!(elsewhere, Err(AgentError::HttpError(_))),
        "{elsewhere:?}"
    );
    let stranger = status(&world.agent(2).await, id, id).await;
    assert!(
        matches!(stranger, Err(AgentError::UncertifiedReject { .. })),
        "{stranger:?}"
    );
}

#[tokio::test]
async fn what_is_not_let_in_is_rejected_without_a_certificate() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    let refused = agent.update(&world.canister, "forbidden").await;
    let absent = candid::Principal::from_text("lqy7q-dh777-77777-aaaaq-cai").unwrap();
    let missing = agent.update(&absent, "inc").await;
    for (error, code) in [(refused, "IC0406"), (missing, "IC0301")] {
        let error = error.unwrap_err();
        let AgentError::UncertifiedReject { reject, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(reject.error_code.as_deref(), Some(code));
    }
}
