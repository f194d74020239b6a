//! Archives that the canister makes itself.

use crate::world::{DIGESTS, IDS, REPLIES, World};
use idempotency_core::archive::ArchiveState;
use integration_tests::user;
use sha2::{Digest as _, Sha256};

#[test]
fn archives_are_made_as_they_are_needed_and_the_right_one_is_asked() {
    for keep in [IDS, DIGESTS, REPLIES] {
        let world = World::making(keep, |settings| settings.archive_capacity = 100);
        for batch in 0..5 {
            for key in batch * 60..(batch + 1) * 60 {
                world.pay(key).unwrap();
            }
            world.ship();
        }
        let overview = world.overview();
        assert_eq!(world.shipped(), (300, 0), "{overview:?}");
        assert!(overview.archives.len() >= 3, "{overview:?}");
        assert_eq!(overview.lost, 0);
        let states: Vec<_> = overview.archives.iter().map(|it| it.state).collect();
        let (last, full) = states.split_last().unwrap();
        assert_eq!(*last, ArchiveState::Current);
        assert!(full.iter().all(|state| *state == ArchiveState::Full));
        for archive in &overview.archives {
            let status = world.archive_status(archive.canister);
            assert_eq!(status.position.entries, archive.requests);
            assert_eq!(status.owner, world.canister);
        }
        for key in 0..300 {
            let answer = world.pay(key);
            assert!(
                answer == Ok(key + 1) || keep != REPLIES && answer.is_err(),
                "{answer:?}"
            );
        }
        assert!(world.paid().values().all(|times| *times == 1));
    }
}

/// What expires at one time is more than an archive holds.
#[test]
fn archives_may_be_smaller_than_what_is_sent_at_once() {
    for keep in [IDS, REPLIES] {
        let world = World::making(keep, |settings| settings.archive_capacity = 40);
        for key in 0..100 {
            world.pay(key).unwrap();
        }
        world.ship();
        assert_eq!(world.shipped(), (100, 0));
        assert!((0..100).all(|key| world.pay(key) == Ok(key + 1) || keep == IDS));
        assert!(world.paid().values().all(|times| *times == 1));
    }
}

#[test]
fn nobody_but_its_owner_asks_an_archive_or_sends_to_it() {
    let world = World::making(REPLIES, |_| ());
    world.pay(1).unwrap();
    world.ship();
    let archive = world.overview().archives[0].canister;
    for method in [
        "idempotency_archive_look_up",
        "idempotency_archive_append",
        "idempotency_archive_append_blocks",
    ] {
        let argument = candid::encode_args((Vec::<Vec<u8>>::new(),)).unwrap();
        let rejected = (world.replica).update_call(archive, user(1), method, argument);
        assert!(rejected.is_err(), "{method}: {rejected:?}");
    }
}

#[test]
fn archives_are_upgraded_to_another_module() {
    let mut world = World::making(REPLIES, |settings| settings.archive_capacity = 100);
    for batch in 0..3 {
        for key in batch * 60..(batch + 1) * 60 {
            world.pay(key).unwrap();
        }
        world.ship();
    }
    let none: Vec<u8> = world.update(1, "upgrade_all", ()).unwrap();
    type Upgraded = Vec<(candid::Principal, Result<(), String>)>;
    let none: Upgraded = candid::decode_one(&none).unwrap();
    assert_eq!(none, []);
    // The same module with a section more.
    let mut module = integration_tests::ARCHIVE.read();
    module.extend([0, 5, 4, b'n', b'o', b't', b'e']);
    world.settings.module = serde_bytes::ByteBuf::from(Sha256::digest(&module).to_vec());
    world.upgrade(Some(&world.settings)).unwrap();
    world.store(&[module]);
    let upgraded = world.update(1, "upgrade_all", ()).unwrap();
    let upgraded: Upgraded = candid::decode_one(&upgraded).unwrap();
    assert_eq!(upgraded.len(), world.overview().archives.len());
    assert!(
        upgraded.iter().all(|(_, result)| result.is_ok()),
        "{upgraded:?}"
    );
    for key in 0..180 {
        assert_eq!(world.pay(key), Ok(key + 1));
    }
}
