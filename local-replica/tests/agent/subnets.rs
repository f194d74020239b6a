//! Several subnets: the root's delegations to the others.

use ic_agent::AgentError;

use crate::world::{World, builder, counter_wasm, number, path};

/// The counter on the root subnet, and on another one.
async fn world() -> (World, candid::Principal) {
    let builder = builder().with_nns_subnet().with_application_subnet();
    let mut pic = builder.build_async().await;
    let nns = pic.topology().await.get_nns().unwrap();
    let root_canister = pic.create_canister_on_subnet(None, None, nns).await;
    pic.install_canister(root_canister, counter_wasm(), Vec::new(), None)
        .await;
    let canister = crate::world::install(&pic, counter_wasm()).await;
    let url = pic.make_live(None).await.to_string();
    (World { pic, canister, url }, root_canister)
}

#[tokio::test]
async fn certificates_go_back_to_the_root_key() {
    let (world, root_canister) = world().await;
    let agent = world.agent(1).await;
    assert_eq!(world.pic.root_key().await, Some(agent.read_root_key()));
    for (canister, delegated) in [(root_canister, false), (world.canister, true)] {
        assert_eq!(number(&agent.update(&canister, "inc").await.unwrap()), 1);
        assert_eq!(number(&agent.query(&canister, "get").await.unwrap()), 1);
        let certificate = agent.read_state_raw(vec![path([b"time"])], canister).await;
        assert_eq!(certificate.unwrap().delegation.is_some(), delegated);
        let data = agent.query(&canister, "certificate").await.unwrap();
        agent
            .verify(&crate::world::certificate(&data), canister)
            .unwrap();
    }
}

#[tokio::test]
async fn subnet_does_not_speak_for_anothers_canisters() {
    let (world, root_canister) = world().await;
    let agent = world.agent(1).await;
    let paths = vec![path([b"time"])];
    let certificate = agent.read_state_raw(paths, world.canister).await.unwrap();
    let verified = agent.verify(&certificate, root_canister);
    assert!(
        matches!(verified, Err(AgentError::CertificateNotAuthorized())),
        "{verified:?}"
    );
}

#[tokio::test]
async fn subnets_are_known_by_canister_and_by_id() {
    let (world, root_canister) = world().await;
    let agent = world.agent(1).await;
    for canister in [root_canister, world.canister] {
        let subnet = agent.get_subnet_by_canister(&canister).await.unwrap();
        assert_eq!(Some(subnet.id()), world.pic.get_subnet(canister).await);
        assert!(subnet.contains_canister(&canister));
        let by_id = agent.fetch_subnet_by_id(&subnet.id()).await.unwrap();
        assert_eq!(by_id.self_reported_key(), subnet.self_reported_key());
        let ranges = agent.read_state_subnet_canister_ranges(subnet.id()).await;
        assert!(!ranges.unwrap().is_empty());
    }
}
