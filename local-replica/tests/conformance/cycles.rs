//! Cycles: fees, attached cycles, freezing.

use std::io::Read;

use candid::Nat;
use flate2::read::GzDecoder;
use pocket_ic::{CanisterSettings, CreateCanisterParams, ErrorCode};
use serde::Deserialize;

use crate::world::{USER, long, pocket_ic, puppet, puppet_wasm, query, relay, update};

#[test]
fn update_costs_base_fee_and_ingress() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let before = pic.cycle_balance(id);
    update(&pic, id, "inc").unwrap();
    let charged = before - pic.cycle_balance(id);
    assert!((6_200_000..6_600_000).contains(&charged), "{charged}");
    let before = pic.cycle_balance(id);
    query(&pic, id, "get").unwrap();
    assert_eq!(pic.cycle_balance(id), before, "queries are free");
}

#[test]
fn trap_is_charged() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let before = pic.cycle_balance(id);
    update(&pic, id, "trap").expect_err("a trap");
    assert!(before - pic.cycle_balance(id) > 6_200_000);
}

#[test]
fn attached_cycles_are_accepted_in_part() {
    let pic = pocket_ic();
    let caller = puppet(&pic);
    let callee = puppet(&pic);
    let (paid, received) = (pic.cycle_balance(caller), pic.cycle_balance(callee));
    let accepted = long(relay(&pic, caller, "relay_cycles", callee, "accept"));
    assert_eq!(accepted, 600_000);
    // Both pay for their messages; the callee for one, the caller for two, the call and the ingress.
    let callee_cost = received + 600_000 - pic.cycle_balance(callee);
    assert!(
        (5_000_000..5_200_000).contains(&callee_cost),
        "{callee_cost}"
    );
    let caller_cost = paid - 600_000 - pic.cycle_balance(caller);
    assert!(
        (11_460_000..12_200_000).contains(&caller_cost),
        "{caller_cost}"
    );
}

#[test]
fn canister_without_cycles_is_frozen() {
    let pic = pocket_ic();
    let params = CreateCanisterParams {
        cycles: Some(400_000_000_000),
        ..Default::default()
    };
    let id = pic.create_canister_with_params(None, params).unwrap();
    pic.install_canister(id, puppet_wasm(), Vec::new(), None);
    let settings = CanisterSettings {
        freezing_threshold: Some(Nat::from(u64::MAX)),
        ..Default::default()
    };
    pic.update_canister_settings(id, None, settings).unwrap();
    for result in [update(&pic, id, "inc"), query(&pic, id, "get")] {
        let reject = result.expect_err("frozen");
        assert_eq!(reject.error_code, ErrorCode::CanisterOutOfCycles);
    }
}

/// Replies and cycles as measured on the real server, exactly.
#[test]
fn measured_on_the_real_server() {
    #[derive(Deserialize)]
    struct Measured {
        calls: Vec<Call>,
        install_cycles_charged: u128,
    }
    #[derive(Deserialize)]
    struct Call {
        method: String,
        note: String,
        arg_hex: String,
        reply_hex: String,
        cycles_charged: u128,
    }
    let measured: Measured = serde_json::from_str(include_str!("../data/expected.json")).unwrap();
    let mut wasm = Vec::new();
    GzDecoder::new(&include_bytes!("../data/probe.wasm.gz")[..])
        .read_to_end(&mut wasm)
        .unwrap();
    let pic = pocket_ic();
    let id = pic.create_canister();
    let before = pic.cycle_balance(id);
    pic.install_canister(id, wasm, Vec::new(), None);
    let charged = before - pic.cycle_balance(id);
    assert_eq!(charged, measured.install_cycles_charged, "install");
    for call in measured.calls {
        let before = pic.cycle_balance(id);
        let arg = unhex(&call.arg_hex);
        let reply = pic.update_call(id, USER, &call.method, arg).unwrap();
        let name = format!("{} {}", call.method, call.note);
        assert_eq!(reply, unhex(&call.reply_hex), "{name}");
        let charged = before - pic.cycle_balance(id);
        assert_eq!(charged, call.cycles_charged, "{name}");
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}
