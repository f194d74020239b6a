//! What a later attempt makes of what is recorded.

use super::{
    super::{
        Ended, Steps,
        entry::{self, Entry, Tried, What},
        last_step, recorded_steps,
    },
    world::{CALLER, World},
};
use crate::{safe_call::transport::Tries, time::Timestamp};
use futures_util::future::join;
use proptest::prelude::*;
use std::{rc::Rc, time::Duration};

/// A body that uses everything.
async fn everything(world: World, steps: Steps) -> Result<u64, String> {
    let mut sum = steps.run("here", async || world.effect("here")).await;
    let (there, beside) = join(
        steps.run("there", || world.call("there")),
        steps.run("beside", || world.call("beside")),
    )
    .await;
    sum += there + beside;
    steps.sleep(Duration::ZERO).await;
    steps.created_at("there");
    steps.now();
    steps.random().await;
    if steps.version("v2") {
        sum += 1_000;
    }
    let _ = steps.compensate("here", async || Ok(()));
    match sum {
        0 => Err("none".to_owned()),
        sum => Ok(sum),
    }
}

fn with(
    world: &World,
    body: impl AsyncFnOnce(World, Steps) -> Result<u64, String> + 'static,
) -> Ended<Result<u64, String>> {
    let of_body = world.clone();
    world.run(move |steps| async move { body(of_body, steps).await })
}

#[test]
fn what_is_recorded_is_done_no_more() {
    let world = World::new();
    let first = with(&world, everything);
    assert_eq!(first, Ended::Finished(Ok(1_015)));
    let (entries, effects) = (world.entries(), world.effects());
    for _ in 0..3 {
        assert_eq!(with(&world, everything), first);
        assert_eq!(
            (world.entries(), world.effects()),
            (entries.clone(), effects.clone())
        );
    }
    // As the last attempt but one left it, whichever entry came last.
    for length in 0..entries.len() {
        let cut = World::with(entries[..length].to_vec());
        let ended = with(&cut, everything);
        let is_unknown = recorded_steps(&entries[..length])
            .iter()
            .any(|step| !step.has_ended);
        assert_eq!(
            matches!(ended, Ended::Parked { .. }),
            is_unknown,
            "{length} {ended:?}"
        );
        if !is_unknown {
            assert_eq!(ended, first);
        }
    }
}

/// Journals lie in canisters that are upgraded: other bytes here make them unreadable.
#[test]
fn entries_stay_what_they_are() {
    let world = World::new();
    with(&world, everything);
    let now = world.now_bytes();
    let timed = |kind: u8, name: &str| [&[kind, name.len() as u8], name.as_bytes(), &now].concat();
    let ended = |start: u8, value: &[u8]| [&[7, 0, start, 0, 0, 0], value].concat();
    let bytes = |mut bytes: Vec<u8>| {
        bytes.extend([0x98, 32]);
        bytes.extend([2; 32]);
        bytes
    };
    let expected = [
        b"\x02\x04here\x04".to_vec(),
        b"\x01\x05there".to_vec(),
        b"\x01\x06beside".to_vec(),
        ended(1, &[5]),
        ended(2, &[6]),
        timed(3, ""),
        ended(5, &[]),
        timed(5, "there"),
        timed(4, ""),
        b"\x01\x00".to_vec(),
        bytes(ended(9, &[])),
        b"\x06\x02v2".to_vec(),
    ];
    assert_eq!(world.entries(), expected);
}

#[test]
fn what_is_noted_of_a_safe_call_stays_what_it_is() {
    let tries = Tries {
        since: Timestamp::from_nanos(0x0102_0304_0506_0708),
        made: 0x090a_0b0c,
        is_in_doubt: true,
    };
    let digest = [7; 16];
    let mut bytes = vec![];
    entry::put_tried(&mut bytes, b"pay", &Tried { tries, digest });
    let expected = b"\x08\x03pay\x08\x07\x06\x05\x04\x03\x02\x01\x0c\x0b\x0a\x09\x01";
    assert_eq!(bytes, [expected, &digest[..]].concat());
    // A doubt is a bit.
    bytes[17] = 2;
    assert_eq!(Entry::read(&bytes), None);
}

#[test]
fn people_are_told_the_steps() {
    let world = World::new();
    with(&world, everything);
    let entries = world.entries();
    let told = |entries: &[Vec<u8>]| {
        let steps = recorded_steps(entries).into_iter();
        steps
            .map(|step| (step.name, step.has_ended))
            .collect::<Vec<_>>()
    };
    let step = |name: &str, has_ended| (name.to_owned(), has_ended);
    assert_eq!(told(&[]), []);
    assert_eq!(last_step(&[]), None);
    assert_eq!(
        told(&entries[..4]),
        [
            step("here", true),
            step("there", true),
            step("beside", false)
        ]
    );
    assert_eq!(
        told(&entries),
        [
            step("here", true),
            step("there", true),
            step("beside", true)
        ]
    );
    assert_eq!(last_step(&entries[..2]).as_deref(), Some("there"));
    assert_eq!(last_step(&entries).as_deref(), Some("beside"));
    assert_eq!(last_step(&[vec![99, 0], vec![]]), None);
}

#[test]
fn keys_are_told_apart() {
    let world = World::new();
    let keys = async |_, steps: Steps| {
        assert_eq!(steps.caller(), CALLER);
        let names = ["debit", "credit", "undo debit", "debit[1]"];
        let keys = names.map(|name| steps.key(name));
        assert_eq!(steps.key(("debit", 1)), keys[3]);
        let different = keys.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(different.len(), names.len());
        // Another value here lets callees run again what they have run: the first byte says what is hashed.
        let identity = *super::super::Journal::identity(&World::new()).name();
        let hashed = [&[9][..], &identity, b"debit"].concat();
        assert_eq!(&keys[0], blake3::hash(&hashed).as_bytes());
        Ok(0)
    };
    assert_eq!(with(&world, keys), Ended::Finished(Ok(0)));
    assert!(world.entries().is_empty());
}

#[test]
fn a_version_is_asked_for_twice_or_no_more() {
    let marked = World::new();
    let twice = async |_, steps: Steps| {
        let first = steps.version("v2");
        steps.run("a", async || ()).await;
        Ok(u64::from(first && steps.version("v2")))
    };
    assert_eq!(with(&marked, twice), Ended::Finished(Ok(1)));
    assert_eq!(marked.entries().len(), 2);
    assert_eq!(with(&marked, twice), Ended::Finished(Ok(1)));

    let unmarked = World::new();
    let before = async |_, steps: Steps| {
        steps.run("a", async || ()).await;
        Ok(0)
    };
    with(&unmarked, before);
    // No at first, so no for ever, though nothing comes after the second place.
    assert_eq!(with(&unmarked, twice), Ended::Finished(Ok(0)));
    assert_eq!(unmarked.entries().len(), 1);

    // Old code is gone.
    assert_eq!(with(&marked, before), Ended::Finished(Ok(0)));
    let later = async |_, steps: Steps| {
        steps.run("a", async || ()).await;
        Ok(u64::from(steps.version("v2")))
    };
    assert_eq!(with(&marked, later), Ended::Finished(Ok(1)));
}

#[test]
fn a_sleep_ends_the_attempt_and_not_before_its_time() {
    let world = World::new();
    let body = async |_, steps: Steps| {
        steps.sleep(Duration::from_secs(60)).await;
        Ok(1)
    };
    let until = Timestamp::from_secs(1_060);
    assert_eq!(with(&world, body), Ended::Asleep { until });
    world.pass(Duration::from_secs(59));
    assert_eq!(with(&world, body), Ended::Asleep { until });
    world.pass(Duration::from_secs(1));
    assert_eq!(with(&world, body), Ended::Finished(Ok(1)));
    assert_eq!(world.entries().len(), 2);
    // For ever is not an overflow.
    let for_ever = async |_, steps: Steps| {
        steps.sleep(Duration::MAX).await;
        Ok(1)
    };
    let until = Timestamp::from_nanos(u64::MAX);
    assert_eq!(with(&World::new(), for_ever), Ended::Asleep { until });
}

#[test]
fn a_sleep_waits_for_what_is_in_flight() {
    let world = World::new();
    let of_body = world.clone();
    let mut attempt = world.begin(move |steps| async move {
        let call = async {
            steps.run("a", || of_body.call("a")).await;
            steps.run("b", || of_body.call("b")).await
        };
        Ok(join(call, steps.sleep(Duration::from_secs(60))).await.0)
    });
    for expected in [1, 1] {
        assert_eq!(attempt.message(), None);
        world.commit();
        assert_eq!(world.calls().len(), expected);
        world.answer(world.calls()[0]);
    }
    let until = Timestamp::from_secs(1_060);
    assert_eq!(attempt.message(), Some(Ended::Asleep { until }));
    world.commit();
    assert!(
        recorded_steps(&world.entries())
            .iter()
            .all(|step| step.has_ended)
    );
}

#[test]
fn random_bytes_are_asked_for_again_later() {
    let world = World::new();
    world.fail_random(2);
    let body = async |_, steps: Steps| Ok(u64::from(steps.random().await[0]));
    for second in [1_010, 1_020] {
        let until = Timestamp::from_secs(second);
        assert_eq!(with(&world, body), Ended::Asleep { until });
        world.pass(Duration::from_secs(10));
    }
    assert_eq!(with(&world, body), Ended::Finished(Ok(2)));
    assert_eq!(with(&world, body), Ended::Finished(Ok(2)));
}

#[test]
fn an_attempt_leaves_nothing_on_the_heap() {
    let world = World::new();
    let holder = Rc::new(());
    let of_body = Rc::clone(&holder);
    let another = world.clone();
    let mut attempt = world.begin(move |steps| async move {
        let held = (steps.clone(), of_body);
        let _ = steps.compensate("a", async move || {
            held.0.caller();
            drop(held.1);
            Ok(())
        });
        steps.run("a", || another.call("a")).await;
        Ok(())
    });
    assert_eq!(attempt.message(), None);
    drop(attempt);
    assert_eq!(Rc::strong_count(&holder), 1);
}

/// A journal as a body writes it, with some bytes changed, or arbitrary bytes.
fn entries() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let world = World::new();
    with(&world, everything);
    let written = world.entries();
    let count = written.len();
    let changes =
        prop::collection::vec((0..count, any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let changed = changes.prop_map(move |changes| {
        let mut entries = written.clone();
        for (entry, byte, value) in changes {
            let at = byte.index(entries[entry].len());
            entries[entry][at] = value;
        }
        entries
    });
    let order = (
        changed.clone(),
        prop::collection::vec(0..count, 0..2 * count),
    )
        .prop_map(|(entries, order)| order.iter().map(|i| entries[*i].clone()).collect());
    let head = prop::collection::vec(0u8..9, 0..3);
    let entry = (head, prop::collection::vec(any::<u8>(), 0..12))
        .prop_map(|(head, tail)| [head, tail].concat());
    prop_oneof![changed, order, prop::collection::vec(entry, 0..8)]
}

proptest! {
    /// Whatever is in the journal, an attempt ends, and what is recorded as done is not done again.
    #[test]
    fn any_bytes_are_refused_or_replayed(entries in entries()) {
        let world = World::with(entries.clone());
        let ended = with(&world, everything);
        let steps = recorded_steps(&entries);
        for (name, times) in world.effects() {
            prop_assert_eq!(times, 1);
            prop_assert!(steps.iter().all(|step| step.name != name), "{} again, {:?}", name, ended);
        }
        if let Ended::Parked { reason } = ended {
            prop_assert!(!reason.is_empty() && reason.len() <= 1_000);
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written(name in "[a-z]{1,255}", start: u32, nanos: u64) {
        let (mut bytes, time) = (vec![1; 7], Timestamp::from_nanos(nanos));
        let name = name.as_bytes();
        let mut check = |write: &dyn Fn(&mut Vec<u8>), entry: Entry<'_>| {
            write(&mut bytes);
            assert_eq!(Entry::read(&bytes), Some(entry));
            for length in 0..bytes.len() {
                // What is cut short is nothing, or something else.
                assert_ne!(Entry::read(&bytes[..length]), Some(entry));
            }
            bytes.len()
        };
        let start_of = |what, name, is_done, payload| Entry::Start { what, name, is_done, payload };
        let of_time = nanos.to_le_bytes();
        let length = check(&|bytes| entry::put_began(bytes, name), start_of(What::Step, name, false, &[]));
        assert_eq!(length, entry::began_bytes(name));
        check(&|bytes| entry::put_done(bytes, name), start_of(What::Step, name, true, &[]));
        check(&|bytes| entry::put_sleep(bytes, time), start_of(What::Sleep, &[], false, &of_time));
        check(&|bytes| entry::put_now(bytes, time), start_of(What::Now, &[], true, &of_time));
        check(&|bytes| entry::put_version(bytes, name), Entry::Version { name });
        let tries = Tries { since: time, made: start, is_in_doubt: start % 2 == 0 };
        let tried = Tried { tries, digest: [name[0]; 16] };
        let length = check(&|bytes| entry::put_tried(bytes, name, &tried), Entry::Tried { name, tried });
        assert_eq!(length, entry::tried_bytes(name));
        check(&|bytes| entry::put_ended(bytes, start), Entry::End { start, payload: &[] });
        let length = check(&|bytes| entry::put_frozen(bytes, name, time), Entry::Frozen { name, time });
        assert_eq!(length, entry::frozen_bytes(name));
    }
}
