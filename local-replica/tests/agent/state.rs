//! `read_state`: what it shows, and to whom.

use std::time::{Duration, SystemTime};

use ic_agent::identity::AnonymousIdentity;
use ic_agent::{AgentError, Identity, lookup_value};
use ic_certification::LookupResult;
use sha2::{Digest, Sha256};

use crate::world::{World, counter_wasm, identity, path};

#[tokio::test]
async fn time_is_that_of_the_last_round() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    let certificate = agent
        .read_state_raw(vec![path([b"time"])], world.canister)
        .await
        .unwrap();
    let mut time = lookup_value(&certificate, [b"time".as_slice()]).unwrap();
    let time_ns = leb128::read::unsigned(&mut time).unwrap();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    assert!(now.abs_diff(Duration::from_nanos(time_ns)) < Duration::from_secs(60));
}

#[tokio::test]
async fn module_and_controllers_are_shown() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    let hash = agent.read_state_canister_module_hash(world.canister).await;
    assert_eq!(hash.unwrap(), Sha256::digest(counter_wasm()).to_vec());
    let controllers = agent.read_state_canister_controllers(world.canister).await;
    assert_eq!(
        controllers.unwrap(),
        world.pic.get_controllers(world.canister).await
    );
    let empty = world.pic.create_canister().await;
    let hash = agent.read_state_canister_module_hash(empty).await;
    assert!(
        matches!(hash, Err(AgentError::LookupPathAbsent(_))),
        "{hash:?}"
    );
}

#[tokio::test]
async fn private_metadata_is_for_controllers() {
    let world = World::live().await;
    let (owner, stranger) = (world.agent(1).await, world.agent(2).await);
    let owner_id = identity(1).sender().unwrap();
    world
        .pic
        .set_controllers(world.canister, None, vec![owner_id])
        .await
        .unwrap();
    for agent in [&owner, &stranger] {
        let note = agent
            .read_state_canister_metadata(world.canister, "note")
            .await;
        assert_eq!(note.unwrap(), b"for everyone");
    }
    let secret = owner
        .read_state_canister_metadata(world.canister, "secret")
        .await;
    assert_eq!(secret.unwrap(), b"for controllers");
    let absent = owner
        .read_state_canister_metadata(world.canister, "absent")
        .await;
    assert!(
        matches!(absent, Err(AgentError::LookupPathAbsent(_))),
        "{absent:?}"
    );
    let refused = stranger
        .read_state_canister_metadata(world.canister, "secret")
        .await;
    let Err(AgentError::HttpError(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.status, 403);
}

#[tokio::test]
async fn status_of_a_request_is_its_senders() {
    let world = World::live().await;
    let (agent, stranger) = (world.agent(1).await, world.agent(2).await);
    let call = agent.update(&world.canister, "inc").sign().unwrap();
    agent
        .update_signed(world.canister, call.signed_update)
        .await
        .unwrap();
    let refused = stranger
        .request_status_raw(&call.request_id, world.canister)
        .await;
    let Err(AgentError::HttpError(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.status, 403);
    let text = String::from_utf8(error.content).unwrap();
    assert_eq!(
        text,
        "The user tries to access Request ID not signed by the caller."
    );
}

#[tokio::test]
async fn paths_that_nobody_may_read_are_refused() {
    let world = World::live().await;
    let canister = world.canister.as_slice();
    let other = world.pic.create_canister().await;
    for (paths, status) in [
        (vec![path([b"canister"])], 404),
        (vec![path([b"canister", canister])], 404),
        (vec![path([b"canister", canister, b"certified_data"])], 404),
        (
            vec![path([b"canister", other.as_slice(), b"module_hash"])],
            400,
        ),
        (vec![path([b"request_status"])], 404),
        (vec![path([b"request_status", &[1; 31]])], 400),
        (vec![path([])], 404),
        (vec![path([b"canister_ranges", canister])], 404),
        (vec![vec![b"time".into(); 128]], 400),
        (vec![path([b"time"]); 1_001], 400),
        (
            vec![
                path([b"request_status", &[1; 32]]),
                path([b"request_status", &[2; 32]]),
            ],
            400,
        ),
    ] {
        let refused = world.read_state(&identity(1), paths.clone()).await;
        assert_eq!(refused.unwrap_err().0, status, "{paths:?}");
    }
}

#[tokio::test]
async fn absence_of_a_request_is_proved_among_others() {
    let world = World::live().await;
    let agent = world.agent(1).await;
    for _ in 0..5 {
        agent.update(&world.canister, "inc").await.unwrap();
    }
    for first in (0..=255).step_by(15) {
        let id = [first; 32];
        let certificate = world
            .read_state(&AnonymousIdentity, vec![path([b"request_status", &id])])
            .await
            .unwrap();
        agent.verify(&certificate, world.canister).unwrap();
        let status = [b"request_status".as_slice(), &id, b"status"];
        assert_eq!(certificate.tree.lookup_path(status), LookupResult::Absent);
    }
}
