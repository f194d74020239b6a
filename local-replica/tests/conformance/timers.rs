//! Global timer and heartbeat.

use std::time::Duration;

use candid::Principal;
use pocket_ic::{CanisterSettings, PocketIc};

use crate::world::{USER, counter, install, pocket_ic, puppet, puppet_wasm};

fn set_timer(pic: &PocketIc, id: Principal, deadline_ns: u64) {
    let arg = deadline_ns.to_le_bytes().to_vec();
    pic.update_call(id, USER, "set_timer", arg).unwrap();
}

fn in_a_minute(pic: &PocketIc) -> u64 {
    pic.get_time().as_nanos_since_unix_epoch() + 60_000_000_000
}

#[test]
fn timer_fires_once_when_due() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    set_timer(&pic, id, in_a_minute(&pic));
    pic.tick();
    assert_eq!(counter(&pic, id), 0);
    pic.advance_time(Duration::from_secs(60));
    assert_eq!(counter(&pic, id), 0, "nothing runs without a round");
    pic.tick();
    assert_eq!(counter(&pic, id), 10);
    pic.advance_time(Duration::from_secs(600));
    pic.tick();
    assert_eq!(counter(&pic, id), 10);
}

#[test]
fn timer_can_be_switched_off() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    set_timer(&pic, id, in_a_minute(&pic));
    set_timer(&pic, id, 0);
    pic.advance_time(Duration::from_secs(61));
    pic.tick();
    assert_eq!(counter(&pic, id), 0);
}

#[test]
fn upgrade_switches_the_timer_off() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    set_timer(&pic, id, in_a_minute(&pic));
    pic.upgrade_canister(id, puppet_wasm(), Vec::new(), None)
        .unwrap();
    let before = counter(&pic, id);
    pic.advance_time(Duration::from_secs(61));
    pic.tick();
    assert_eq!(counter(&pic, id), before);
}

#[test]
fn stopped_canister_gets_no_timer() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    set_timer(&pic, id, in_a_minute(&pic));
    pic.stop_canister(id, None).unwrap();
    pic.advance_time(Duration::from_secs(61));
    pic.tick();
    pic.start_canister(id, None).unwrap();
    pic.tick();
    assert_eq!(
        counter(&pic, id),
        10,
        "it fires once the canister runs again"
    );
}

#[test]
fn frozen_canister_gets_its_timer_when_it_can_pay_again() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    set_timer(&pic, id, in_a_minute(&pic));
    let freeze = |threshold: u64| {
        let settings = CanisterSettings {
            freezing_threshold: Some(threshold.into()),
            ..Default::default()
        };
        pic.update_canister_settings(id, None, settings).unwrap();
    };
    freeze(u64::MAX);
    pic.advance_time(Duration::from_secs(61));
    pic.tick();
    freeze(0);
    pic.tick();
    assert_eq!(counter(&pic, id), 10);
}

#[test]
fn heartbeat_runs_each_round() {
    let heartbeat = r#"  (func (export "canister_heartbeat") (call $add (i32.const 1)))
  (func $perform"#;
    let wat = include_str!("puppet.wat").replacen("  (func $perform", heartbeat, 1);
    let pic = pocket_ic();
    let id = install(&pic, wat::parse_str(wat).unwrap());
    let before = counter(&pic, id);
    for _ in 0..3 {
        pic.tick();
    }
    assert_eq!(counter(&pic, id), before + 3);
}
