//! Through a network that loses, delays, repeats, reorders and corrupts, with clients that are killed: as many transfers as there are keys.

use super::{
    proxy::{Lossy, start},
    setup::{CLIENTS, World, client, is_done, root_key, transfer},
};
use idempotency_agent::FileJournal;
use std::{
    env,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// How many transfers each client makes. `IDEMPOTENCY_AGENT_CALLS` is the number for all of them together.
fn each() -> u64 {
    let calls = env::var("IDEMPOTENCY_AGENT_CALLS").ok().map(|calls| calls.parse().expect("a number"));
    calls.unwrap_or(400) / u64::from(CLIENTS)
}

/// Makes the transfers of one client: all at once, up to the end of each. With `kills`, the client is killed time after time, in the midst of
/// whatever it does, and another begins with its journal.
async fn one_client(number: u8, url: String, key: Vec<u8>, ledger: candid::Principal, kills: bool) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(number.into());
    let keys: Vec<u64> = (0..each()).map(|call| u64::from(number) * 1_000_000 + call).collect();
    let mut killed = 0;
    loop {
        let journal = FileJournal::open(folder.path().join("journal")).unwrap();
        let agent = client(number, &url, key.clone(), journal).await;
        let calls = async {
            let mut are_done = true;
            // Some at a time: a client that is killed has several under way.
            for keys in keys.chunks(16) {
                let ends = keys.iter().map(|key| transfer(&agent, ledger, *key).send());
                for end in futures_util::future::join_all(ends).await {
                    are_done &= end.is_ok_and(|end| is_done(&end));
                }
            }
            are_done
        };
        let time = match kills {
            true => Duration::from_millis(rng.u64(500..6_000) + 300 * killed),
            false => Duration::from_secs(1_000),
        };
        match tokio::time::timeout(time, calls).await {
            Ok(true) => return killed,
            Ok(false) => {}
            Err(_) => killed += 1,
        }
    }
}

fn all_clients(kills: bool) {
    let world = World::live();
    let began = Instant::now();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lossy = Arc::new(Lossy::new(7, 20));
    let killed = runtime.block_on(async {
        let key = root_key(&world.url).await;
        let url = start(&world.url, lossy.clone()).await;
        let clients = (0..CLIENTS).map(|number| tokio::spawn(one_client(number, url.clone(), key.clone(), world.ledger, kills)));
        let mut killed = 0;
        for client in clients.collect::<Vec<_>>() {
            killed += client.await.unwrap();
        }
        // What is still on its way arrives.
        tokio::time::sleep(Duration::from_secs(5)).await;
        killed
    });
    let calls = each() * u64::from(CLIENTS);
    println!(
        "{calls} calls, {} faults, {killed} kills, {:?}",
        lossy.faults.load(Ordering::Relaxed),
        began.elapsed()
    );
    assert_eq!(world.transfers(), calls);
    assert!(!kills || killed > 0);
}

#[test]
fn each_key_is_one_transfer() {
    all_clients(false);
}

#[test]
fn each_key_is_one_transfer_of_clients_that_are_killed() {
    all_clients(true);
}
