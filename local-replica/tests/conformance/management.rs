//! The management canister as canisters call it.

use candid::Principal;
use ic_management_canister_types::{CanisterIdRecord, CanisterStatusResult, CreateCanisterArgs};
use pocket_ic::{ErrorCode, PocketIc, RejectResponse};

use crate::world::{
    USER, hold, pocket_ic, puppet, relay_arg, release, seen_reject, submit_management, update,
};

fn manage(
    pic: &PocketIc,
    from: Principal,
    how: &str,
    method: &str,
    payload: &[u8],
) -> Result<Vec<u8>, RejectResponse> {
    let arg = relay_arg(Principal::management_canister(), method, payload);
    pic.update_call(from, USER, how, arg)
}

fn record(canister_id: Principal) -> Vec<u8> {
    candid::encode_one(CanisterIdRecord { canister_id }).unwrap()
}

#[test]
fn canister_sees_its_own_status_only() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let reply = manage(&pic, id, "relay", "canister_status", &record(id)).unwrap();
    let status: CanisterStatusResult = candid::decode_one(&reply).unwrap();
    assert_eq!(status.settings.controllers, [USER]);
    assert!(status.cycles > 90_000_000_000_000_u64);
    let other = puppet(&pic);
    let (code, text) = seen_reject(manage(&pic, id, "relay", "canister_status", &record(other)));
    assert_eq!(code, 5, "{text}");
}

#[test]
fn canister_controls_another() {
    let pic = pocket_ic();
    let (id, other) = (puppet(&pic), puppet(&pic));
    pic.set_controllers(other, None, vec![id]).unwrap();
    manage(&pic, id, "relay", "stop_canister", &record(other)).unwrap();
    let reject = update(&pic, other, "inc").expect_err("stopped");
    assert_eq!(reject.error_code, ErrorCode::CanisterStopped);
    manage(&pic, id, "relay", "start_canister", &record(other)).unwrap();
    update(&pic, other, "inc").unwrap();
}

#[test]
fn cycles_are_deposited() {
    let pic = pocket_ic();
    let (id, other) = (puppet(&pic), puppet(&pic));
    let before = pic.cycle_balance(other);
    manage(&pic, id, "relay_cycles", "deposit_cycles", &record(other)).unwrap();
    assert_eq!(pic.cycle_balance(other), before + 1_000_000);
}

#[test]
fn creating_a_canister_costs_cycles() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let args = candid::encode_one(CreateCanisterArgs::default()).unwrap();
    let (code, text) = seen_reject(manage(&pic, id, "relay_cycles", "create_canister", &args));
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("cycles"), "{text}");
}

#[test]
fn starting_cancels_the_stop() {
    let pic = pocket_ic();
    let (caller, callee) = (puppet(&pic), puppet(&pic));
    let message = hold(&pic, caller, "relay", callee);
    let stop = submit_management(&pic, caller, "stop_canister");
    pic.tick();
    pic.start_canister(caller, None).unwrap();
    let reject = pic.await_call(stop).expect_err("cancelled");
    assert_eq!(reject.error_code, ErrorCode::CanisterStoppingCancelled);
    release(&pic);
    pic.await_call(message).unwrap();
    update(&pic, caller, "inc").unwrap();
}
