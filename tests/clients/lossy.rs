//! Through a network that loses, delays, repeats, reorders and corrupts, with clients that are killed: as many executions as there are keys.

use super::{
    proxy::{Lossy, start},
    setup::{CLIENTS, Canisters, World, call, client, principal, root_key, was_executed},
};
use candid::encode_args;
use idempotency_agent::{FileJournal, MemoryJournal};
use idempotency_core::outcome::{Asked, Outcome};
use serde_bytes::ByteBuf;
use std::{
    env,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// How many calls each client makes. `IDEMPOTENCY_AGENT_CALLS` is the number for all of them together.
fn each() -> u64 {
    let calls = env::var("IDEMPOTENCY_AGENT_CALLS")
        .ok()
        .map(|calls| calls.parse().expect("a number"));
    calls.unwrap_or(800) / u64::from(CLIENTS)
}

/// Makes the calls of one client, up to the end of each: how many were executed, and how often it was killed. With `kills`, the client is killed time after time, in the midst of
/// whatever it does, and another begins with its journal.
async fn one_client(
    number: u8,
    url: String,
    key: Vec<u8>,
    canisters: Canisters,
    kills: bool,
) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(number.into());
    let keys: Vec<u64> = (0..each())
        .map(|call| u64::from(number) * 1_000_000 + call)
        .collect();
    let mut killed = 0;
    loop {
        let journal = FileJournal::open(folder.path().join("journal")).unwrap();
        let agent = client(number, &url, key.clone(), journal).await;
        let calls = async {
            let mut executed = 0;
            let mut are_known = true;
            // Some at a time: a client that is killed has several under way.
            for keys in keys.chunks(16) {
                let ends = keys.iter().map(|key| call(&agent, canisters, *key).send());
                for end in futures_util::future::join_all(ends).await {
                    let known = end.ok().and_then(|end| was_executed(&end));
                    are_known &= known.is_some();
                    executed += u64::from(known == Some(true));
                }
            }
            are_known.then_some(executed)
        };
        let time = match kills {
            true => Duration::from_millis(rng.u64(500..6_000) + 300 * killed),
            false => Duration::from_secs(1_000),
        };
        match tokio::time::timeout(time, calls).await {
            Ok(Some(executed)) => return (executed, killed),
            Ok(None) => {}
            Err(_) => killed += 1,
        }
    }
}

fn all_clients(kills: bool) {
    let world = World::live();
    let began = Instant::now();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lossy = Arc::new(Lossy::new(7, 20));
    let (executed, killed) = runtime.block_on(async {
        let key = root_key(&world.url).await;
        let url = start(&world.url, lossy.clone()).await;
        let clients = (0..CLIENTS).map(|number| {
            tokio::spawn(one_client(
                number,
                url.clone(),
                key.clone(),
                world.canisters,
                kills,
            ))
        });
        let (mut executed, mut killed) = (0, 0);
        for client in clients.collect::<Vec<_>>() {
            let (executions, kills) = client.await.unwrap();
            executed += executions;
            killed += kills;
        }
        // What is still on its way arrives.
        tokio::time::sleep(Duration::from_secs(5)).await;
        (executed, killed)
    });
    let calls = each() * u64::from(CLIENTS);
    println!(
        "{calls} calls, {executed} executed, {} faults, {killed} kills, {:?}",
        lossy.faults.load(Ordering::Relaxed),
        began.elapsed()
    );
    // Those that never ran are known to be so, and they are few.
    assert_eq!(world.executions(), executed);
    assert!(executed <= calls && executed * 10 >= calls * 9);
    assert!(!kills || killed > 0);
}

#[test]
fn each_key_is_one_execution() {
    all_clients(false);
}

#[test]
fn each_key_is_one_execution_of_clients_that_are_killed() {
    all_clients(true);
}

/// What is kept is a certificate that was read well, however often that takes.
#[test]
fn an_answer_to_keep_comes_through() {
    let world = World::live();
    let lossy = Arc::new(Lossy::new(11, 20));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = async |number: u8, url: &str, key: &[u8]| {
        let journal = MemoryJournal::default();
        let agent = client(number, url, key.to_vec(), journal).await;
        let arg = encode_args((ByteBuf::from([number]), Vec::<u8>::new())).unwrap();
        let call = Asked {
            method: "work".into(),
            arg: arg.into(),
        };
        let answer = (agent.transport())
            .certified_answer(world.canisters.worker, "idempotency_outcomes", &[call])
            .await;
        let (answered, kept) = answer.unwrap();
        assert_eq!(answered.sender, principal(number));
        let outcome = &answered.outcomes[0];
        assert!(matches!(outcome, Ok(Outcome::Absent { .. })), "{outcome:?}");
        assert_eq!(kept.verified(key).unwrap(), answered);
    };
    runtime.block_on(async {
        let key = root_key(&world.url).await;
        let url = start(&world.url, lossy.clone()).await;
        let asked = (0..CLIENTS).map(|number| ask(number, &url, &key));
        futures_util::future::join_all(asked).await;
    });
    assert!(lossy.faults.load(Ordering::Relaxed) > 0);
}
