//! Instances: time, subnets, progress.

use std::time::{Duration, SystemTime};

use pocket_ic::{PocketIcBuilder, Time};

use crate::world::{builder, counter, long, pocket_ic, puppet, query, relay, update};

#[test]
fn time_starts_at_genesis_and_moves_by_hand() {
    let pic = pocket_ic();
    let genesis = Time::from_nanos_since_unix_epoch(1_620_328_630_000_000_000);
    let nanosecond = Duration::from_nanos(1);
    // A new instance has executed a round.
    assert_eq!(pic.get_time(), genesis + nanosecond);
    pic.tick();
    assert_eq!(pic.get_time(), genesis + nanosecond * 2);
    // A round moves a clock that stood still.
    pic.advance_time(Duration::from_secs(3));
    let after = genesis + nanosecond * 2 + Duration::from_secs(3);
    assert_eq!(pic.get_time(), after);
    pic.tick();
    assert_eq!(pic.get_time(), after);
    pic.tick();
    assert_eq!(pic.get_time(), after + nanosecond);
}

#[test]
fn queries_see_the_time_of_the_last_round_or_the_certified_one() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let now = || Time::from_nanos_since_unix_epoch(long(query(&pic, id, "now")));
    let last_round = pic.get_time();
    pic.advance_time(Duration::from_secs(100));
    assert_eq!(now(), last_round);
    pic.tick();
    assert_eq!(now(), pic.get_time());
    let later = pic.get_time() + Duration::from_secs(100);
    pic.set_certified_time(later);
    assert_eq!(now(), later);
    assert_eq!(
        long(update(&pic, id, "now_update")),
        later.as_nanos_since_unix_epoch() + 1
    );
}

#[test]
fn instances_do_not_see_each_other() {
    let first = pocket_ic();
    let second = pocket_ic();
    let id = puppet(&first);
    assert_eq!(counter(&first, id), 0);
    assert!(!second.canister_exists(id));
    drop(first);
    assert_eq!(puppet(&second), id, "ids start anew");
}

#[test]
fn subnets_have_kinds() {
    let pic = builder()
        .with_nns_subnet()
        .with_application_subnet()
        .with_application_subnet()
        .with_fiduciary_subnet()
        .build();
    let topology = pic.topology();
    assert_eq!(topology.get_app_subnets().len(), 2);
    let nns = topology.get_nns().expect("an NNS subnet");
    let id = pic.create_canister_on_subnet(None, None, nns);
    assert_eq!(pic.get_subnet(id), Some(nns));
    assert_eq!(topology.get_subnet(id), Some(nns));
    let elsewhere = pic.create_canister();
    let subnet = pic.get_subnet(elsewhere).expect("a subnet");
    assert!(topology.get_app_subnets().contains(&subnet));
}

#[test]
fn instance_can_make_progress_by_itself() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    pic.auto_progress();
    assert!(pic.auto_progress_enabled());
    let now = SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a time after the epoch");
    let seen = Duration::from_nanos(long(query(&pic, id, "now")));
    assert!(now.abs_diff(seen) < Duration::from_secs(5));
    let message = pic
        .submit_call(id, crate::world::USER, "inc", Vec::new())
        .unwrap();
    pic.await_call_no_ticks(message).unwrap();
    pic.stop_progress();
    assert!(!pic.auto_progress_enabled());
}

#[test]
fn features_that_are_missing_are_named() {
    let build = |configure: fn(PocketIcBuilder) -> PocketIcBuilder| {
        let build = move || configure(builder().with_application_subnet()).build();
        let panic = std::panic::catch_unwind(build).err()?;
        panic.downcast_ref::<String>().cloned()
    };
    if std::env::var_os("POCKET_IC_BIN").is_some() {
        return;
    }
    let message = build(|builder| builder.with_state_dir("/nonexistent".into()));
    assert_eq!(
        message.as_deref(),
        Some("not supported by local-replica: state directories")
    );
}

#[test]
fn same_script_same_outcome() {
    let run = || {
        let pic = pocket_ic();
        let (first, second) = (puppet(&pic), puppet(&pic));
        let management = candid::Principal::management_canister();
        let random = relay(&pic, first, "relay", management, "raw_rand").unwrap();
        for method in ["inc", "trap", "reject", "silent"] {
            relay(&pic, second, "relay", first, method).unwrap();
        }
        pic.advance_time(Duration::from_secs(90_000));
        pic.tick();
        let cycles = [first, second].map(|id| pic.cycle_balance(id));
        (first, second, random, cycles, pic.get_time())
    };
    assert_eq!(run(), run());
}
