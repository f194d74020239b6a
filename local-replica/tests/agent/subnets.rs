//! Several subnets: the root's delegations to the others.

use candid::Principal;
use ic_agent::AgentError;
use ic_agent::agent::{CallResponse, EffectiveId};
use ic_agent::identity::AnonymousIdentity;
use ic_certification::{Certificate, LookupResult, SubtreeLookupResult};
use ic_management_canister_types::{CanisterIdRecord, ProvisionalCreateCanisterWithCyclesArgs};

use crate::world::{World, builder, counter_wasm, number, path};

/// The counter on the root subnet, and on another one.
async fn world() -> (World, Principal) {
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
        assert!(by_id.contains_canister(&canister));
    }
}

#[tokio::test]
async fn canister_is_made_on_the_subnet_that_the_url_names() {
    let (world, _) = world().await;
    let agent = world.agent(1).await;
    let nns = world.pic.topology().await.get_nns().unwrap();
    let args = ProvisionalCreateCanisterWithCyclesArgs::default();
    let call = agent
        .update(
            &Principal::management_canister(),
            "provisional_create_canister_with_cycles",
        )
        .with_arg(candid::encode_one(args).unwrap())
        .with_effective_canister_id(world.canister)
        .sign()
        .unwrap();
    let answer = agent.update_signed(EffectiveId::Subnet(nns), call.signed_update);
    let CallResponse::Response(reply) = answer.await.unwrap() else {
        panic!("it was answered in time");
    };
    let record: CanisterIdRecord = candid::decode_one(&reply).unwrap();
    assert_eq!(world.pic.get_subnet(record.canister_id).await, Some(nns));
    let other = agent.update(&world.canister, "inc").sign().unwrap();
    let refused = agent.update_signed(EffectiveId::Subnet(nns), other.signed_update);
    let refused = refused.await;
    assert!(
        matches!(refused, Err(AgentError::HttpError(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn ranges_are_where_the_route_has_them() {
    let (world, root_canister) = world().await;
    let agent = world.agent(1).await;
    let subnet = world.pic.get_subnet(world.canister).await.unwrap();
    let flat = path([b"subnet", subnet.as_slice(), b"canister_ranges"]);
    let sharded = path([b"canister_ranges", subnet.as_slice()]);
    let has_leaf = |certificate: &Certificate| {
        let found = certificate.tree.lookup_path(&flat);
        matches!(found, LookupResult::Found(_))
    };
    let has_shards = |certificate: &Certificate| {
        let found = certificate.tree.lookup_subtree(&sharded);
        matches!(found, SubtreeLookupResult::Found(_))
    };
    for (version, has_flat) in [("v2", true), ("v3", false)] {
        let certificate = world
            .read_state_of(version, &AnonymousIdentity, vec![path([b"subnet"])])
            .await
            .unwrap();
        agent.verify(&certificate, world.canister).unwrap();
        assert_eq!(has_leaf(&certificate), has_flat);
        let delegation = certificate.delegation.unwrap().certificate;
        let delegation = crate::world::certificate(&delegation);
        assert_eq!(has_leaf(&delegation), has_flat);
        assert_eq!(has_shards(&delegation), !has_flat);
        let asked = world.read_state_of(version, &AnonymousIdentity, vec![flat.clone()]);
        assert_eq!(asked.await.is_ok(), has_flat);
    }
    // The root's are where they were.
    let nns = world.pic.get_subnet(root_canister).await.unwrap();
    let ranges = agent.read_state_subnet_canister_ranges(nns).await;
    assert!(!ranges.unwrap().is_empty());
}

#[tokio::test]
async fn metrics_are_absent() {
    let (world, _) = world().await;
    let nns = world.pic.topology().await.get_nns().unwrap();
    assert!(world.pic.get_subnet_metrics(nns).await.is_none());
}
