//! Queries: signed by the node, with certificates for what canisters certify.

use ic_agent::{AgentError, lookup_value};

use crate::world::{World, certificate, number};

#[tokio::test]
async fn answers_are_signed_by_the_node() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    agent.update(&world.canister, "inc").await.unwrap();
    let reply = agent.query(&world.canister, "get").await.unwrap();
    assert_eq!(number(&reply), 1);
    let error = agent.query(&world.canister, "refuse_query").await;
    let AgentError::UncertifiedReject { reject, .. } = error.unwrap_err() else {
        panic!("the canister refuses");
    };
    assert_eq!(reject.reject_message, "no, thank you");
    assert_eq!(reject.error_code.as_deref(), Some("IC0406"));
}

#[tokio::test]
async fn signatures_of_another_key_are_refused() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    let mut key = agent.read_root_key();
    *key.last_mut().unwrap() ^= 1;
    agent.set_root_key(key);
    assert!(agent.query(&world.canister, "get").await.is_err());
    assert!(agent.update(&world.canister, "inc").await.is_err());
}

#[tokio::test]
async fn certified_data_comes_with_its_certificate() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    for data in [[7; 32], [8; 32]] {
        let call = agent.update(&world.canister, "certify");
        call.with_arg(data.to_vec()).await.unwrap();
        let reply = agent.query(&world.canister, "certificate").await.unwrap();
        let certificate = certificate(&reply);
        agent.verify(&certificate, world.canister).unwrap();
        let path = [b"canister", world.canister.as_slice(), b"certified_data"];
        assert_eq!(lookup_value(&certificate, path).unwrap(), data);
    }
}
