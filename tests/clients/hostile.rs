//! A boundary node, or a replica behind it, that lies: each lie is no answer, and no call ends in a claim that is wrong.

use super::{
    proxy::{Conduct, Upstream, start},
    setup::{PACE, World, call, client, root_key, was_executed},
};
use axum::body::Bytes;
use ic_agent::{Certificate, hash_tree};
use ic_cbor::CertificateToCbor;
use idempotency_agent::{End, Event, MemoryJournal, Pace, Progress, Trouble};
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How the status of a request that was executed is hidden, or made up.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// A certificate of before it was executed.
    Stale,
    /// The certified status of another request.
    Another,
    /// A certificate without its tree: the hash, and the signature, are right.
    Truncated,
    /// One without the statuses.
    WithoutStatuses,
    /// One with the statuses replaced by nothing, as if there were none.
    ClaimedAbsent,
    /// One that somebody else has signed.
    Forged,
    /// The bytes end in the middle.
    Cut,
}

struct Liar {
    lie: Mutex<Option<Lie>>,
    /// An answer that was given before.
    kept: Mutex<Option<Vec<u8>>>,
    /// A call that is delivered only after the first answer about it.
    held: Mutex<Option<(String, Bytes)>>,
    /// How many answers were lies.
    told: AtomicU32,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(with = "serde_bytes")]
    certificate: Vec<u8>,
}

fn changed(answer: &[u8], change: impl FnOnce(&mut Certificate)) -> Vec<u8> {
    let mut answer: Answer = ciborium::from_reader(answer).unwrap();
    let mut certificate = Certificate::from_cbor(&answer.certificate).unwrap();
    change(&mut certificate);
    answer.certificate.clear();
    ciborium::into_writer(&certificate, &mut answer.certificate).unwrap();
    let mut bytes = vec![];
    ciborium::into_writer(&answer, &mut bytes).unwrap();
    bytes
}

impl Conduct for Liar {
    async fn answer(&self, upstream: Upstream, path: String, body: Bytes) -> (u16, Vec<u8>) {
        let lie = *self.lie.lock().unwrap();
        let Some(lie) = lie else {
            let answer = upstream.forward(&path, body).await;
            if !path.ends_with("read_state") {
                // So that the status is read.
                return (202, vec![]);
            }
            *self.kept.lock().unwrap() = Some(answer.1.clone());
            return answer;
        };
        let is_reading = path.ends_with("read_state");
        if matches!(lie, Lie::Stale) && !is_reading {
            if self.told.load(Ordering::Relaxed) == 0 {
                *self.kept.lock().unwrap() = None;
                self.held.lock().unwrap().get_or_insert((path, body));
            }
            return (202, vec![]);
        }
        let (status, answer) = upstream.forward(&path, body).await;
        if !is_reading {
            // It was taken, and nobody is told what came of it.
            return (202, vec![]);
        }
        if status != 200 {
            return (status, answer);
        }
        let held = self.held.lock().unwrap().take();
        if let Some((path, body)) = held {
            upstream.forward(&path, body).await;
        }
        let kept = self
            .kept
            .lock()
            .unwrap()
            .get_or_insert_with(|| answer.clone())
            .clone();
        self.told.fetch_add(1, Ordering::Relaxed);
        let answer = match lie {
            Lie::Stale | Lie::Another => kept,
            Lie::Truncated => changed(&answer, |certificate| {
                certificate.tree = hash_tree::pruned(certificate.tree.digest());
            }),
            Lie::WithoutStatuses => changed(&answer, |certificate| {
                let time = ic_agent::lookup_value(certificate, ["time".as_bytes()])
                    .unwrap()
                    .to_vec();
                certificate.tree = hash_tree::label("time", hash_tree::leaf(time));
            }),
            Lie::ClaimedAbsent => changed(&answer, |certificate| {
                let time = ic_agent::lookup_value(certificate, ["time".as_bytes()])
                    .unwrap()
                    .to_vec();
                let time = hash_tree::label("time", hash_tree::leaf(time));
                certificate.tree =
                    hash_tree::fork(hash_tree::label("request_status", hash_tree::empty()), time);
            }),
            Lie::Forged => changed(&answer, |certificate| certificate.signature[5] ^= 1),
            Lie::Cut => answer[..answer.len() / 2].to_vec(),
        };
        (200, answer)
    }
}

#[test]
fn a_boundary_node_that_lies_is_caught_each_time() {
    let world = World::live();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lies = [
        Lie::Stale,
        Lie::Another,
        Lie::Truncated,
        Lie::WithoutStatuses,
        Lie::ClaimedAbsent,
        Lie::Forged,
        Lie::Cut,
    ];
    runtime.block_on(async {
        let key = root_key(&world.url).await;
        // Each in its own time: it takes as long as a message lives.
        let calls = (0..)
            .zip(lies)
            .map(|(number, lie)| caught(&world, key.clone(), number, lie));
        futures_util::future::join_all(calls).await;
    });
    assert_eq!(world.executions(), 2 * lies.len() as u64);
}

async fn caught(world: &World, key: Vec<u8>, number: u64, lie: Lie) {
    let liar = Arc::new(Liar {
        lie: Mutex::new(None),
        kept: Mutex::default(),
        held: Mutex::default(),
        told: AtomicU32::new(0),
    });
    let url = start(&world.url, liar.clone()).await;
    let agent = client(1, &url, key, MemoryJournal::default())
        .await
        .pace(Pace {
            messages: 1,
            deadline: Duration::from_secs(8),
            ..PACE
        });
    // An honest answer first: about another request, and what is stale later.
    let other = call(&agent, world.canisters, 3 * number + 1)
        .send()
        .await
        .unwrap();
    assert!(was_executed(&other) == Some(true), "{other:?}");
    *liar.lie.lock().unwrap() = Some(lie);
    let mut troubles = 0;
    let lied_to = call(&agent, world.canisters, 3 * (1_000 + number) + 1).on_progress(|progress| {
        if let Progress::Heard(Event::Trouble(Trouble::Certificate(_))) = progress {
            troubles += 1;
        }
    });
    let end = lied_to.send().await.unwrap();
    assert!(matches!(end, End::StillUnknown { .. }), "{lie:?}: {end:?}");
    // A stale certificate is one, and so may another request's be: that this request is absent was true when it was made.
    let told = liar.told.load(Ordering::Relaxed);
    println!("{lie:?}: {told} lies, {troubles} were no certificates");
    let is_true = matches!(lie, Lie::Stale | Lie::Another);
    assert!(
        told > 0 && (is_true || troubles == told),
        "{lie:?}: {troubles} of {told}"
    );
    *liar.lie.lock().unwrap() = None;
    let end = call(&agent, world.canisters, 3 * (1_000 + number) + 1)
        .send()
        .await
        .unwrap();
    assert!(was_executed(&end) == Some(true), "{lie:?}: {end:?}");
}
