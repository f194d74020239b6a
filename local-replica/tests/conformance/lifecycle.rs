//! Canisters: creating, settings, status, deleting.

use candid::{Nat, Principal};
use pocket_ic::{CanisterSettings, CanisterStatusResult, ErrorCode};
use sha2::{Digest, Sha256};

use crate::world::{USER, builder, pocket_ic, puppet, puppet_wasm};

fn shown(status: &CanisterStatusResult) -> String {
    format!("{:?}", status.status)
}

#[test]
fn new_canister_has_id_controller_and_cycles() {
    let pic = pocket_ic();
    let id = pic.create_canister();
    assert_eq!(id.to_text(), "lxzze-o7777-77777-aaaaa-cai");
    assert_eq!(pic.get_controllers(id), [USER]);
    assert_eq!(pic.cycle_balance(id), 100_000_000_000_000);
    assert_eq!(pic.add_cycles(id, 5), 100_000_000_000_005);
    assert!(pic.canister_exists(id));
    let other = pic.create_canister();
    assert_ne!(id, other);
    assert_eq!(
        pic.get_subnet(id),
        pic.topology().get_app_subnets().first().copied()
    );
}

#[test]
fn canister_with_a_chosen_id() {
    let pic = builder()
        .with_nns_subnet()
        .with_application_subnet()
        .build();
    // The ledger's on mainnet.
    let chosen = Principal::from_text("ryjl3-tyaaa-aaaaa-aaaba-cai").unwrap();
    assert_eq!(pic.create_canister_with_id(None, None, chosen), Ok(chosen));
    assert_eq!(pic.get_subnet(chosen), pic.topology().get_nns());
    assert!(pic.create_canister_with_id(None, None, chosen).is_err());
    // The next canister without a chosen id would get this one.
    let mut bytes = pic.create_canister().as_slice().to_vec();
    bytes[7] += 1;
    let allocated = Principal::from_slice(&bytes);
    let refusal = pic
        .create_canister_with_id(None, None, allocated)
        .expect_err("refused");
    assert!(refusal.contains("allocation range"), "{refusal}");
}

#[test]
fn status_tells_what_is_there() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let status = pic.canister_status(id, None).unwrap();
    assert_eq!(shown(&status), "Running");
    assert_eq!(
        status.module_hash,
        Some(Sha256::digest(puppet_wasm()).to_vec())
    );
    assert_eq!(status.settings.controllers, [USER]);
    assert_eq!(status.settings.freezing_threshold, Nat::from(2_592_000_u32));
    assert!(status.memory_size > 2_u32 * 65_536);
    pic.stop_canister(id, None).unwrap();
    let status = pic.canister_status(id, None).unwrap();
    assert_eq!(shown(&status), "Stopped");
    pic.uninstall_canister(id, None).unwrap();
    assert_eq!(pic.canister_status(id, None).unwrap().module_hash, None);
}

#[test]
fn only_controllers_manage() {
    let pic = pocket_ic();
    let owner = Principal::self_authenticating([1; 32]);
    let id = pic.create_canister_with_settings(Some(owner), None);
    let reject = pic.stop_canister(id, None).expect_err("not a controller");
    assert_eq!(reject.error_code, ErrorCode::CanisterInvalidController);
    assert!(!reject.certified, "refused when submitted");
    pic.set_controllers(id, Some(owner), vec![USER, owner])
        .unwrap();
    let settings = CanisterSettings {
        freezing_threshold: Some(Nat::from(5_u8)),
        ..Default::default()
    };
    pic.update_canister_settings(id, None, settings).unwrap();
    let status = pic.canister_status(id, None).unwrap();
    assert_eq!(status.settings.freezing_threshold, Nat::from(5_u8));
    assert_eq!(status.settings.controllers.len(), 2);
}

#[test]
fn only_stopped_canisters_are_deleted() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let reject = pic.delete_canister(id, None).expect_err("running");
    assert_eq!(reject.error_code, ErrorCode::CanisterNotStopped);
    pic.stop_canister(id, None).unwrap();
    pic.delete_canister(id, None).unwrap();
    assert!(!pic.canister_exists(id));
}
