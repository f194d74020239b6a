//! Cycles: fees, attached cycles, freezing.

use candid::Nat;
use ic_management_canister_types::CanisterSettings;
use pocket_ic::{CreateCanisterParams, ErrorCode};

use crate::world::{long, pocket_ic, puppet, puppet_wasm, query, relay, update};

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
