//! The management canister as canisters call it.

use candid::{CandidType, Principal};
use ic_management_canister_types::{
    CanisterIdRecord, CanisterInstallMode, CanisterSettings, CanisterStatusResult, ChunkHash,
    CreateCanisterArgs, InstallChunkedCodeArgs, InstallCodeArgs, UpdateSettingsArgs,
    UploadChunkArgs,
};
use pocket_ic::{ErrorCode, PocketIc, RejectResponse};

use crate::world::{
    USER, counter, hold, pocket_ic, puppet, puppet_wasm, relay_arg, release, seen_reject,
    submit_management, update,
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

/// A canister that makes others: it creates them with cycles, installs them from an argument or from its own chunk store, upgrades
/// them, and lets go of them.
#[test]
fn a_canister_makes_another_and_lets_it_go() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let manage = |how, method, arg: &dyn Fn() -> Vec<u8>| manage(&pic, id, how, method, &arg());
    fn encoded(arg: &impl CandidType) -> Vec<u8> {
        candid::encode_one(arg).unwrap()
    }
    let create = || -> Principal {
        let args = || encoded(&CreateCanisterArgs::default());
        let reply = manage("relay_many_cycles", "create_canister", &args).unwrap();
        let created: CanisterIdRecord = candid::decode_one(&reply).unwrap();
        created.canister_id
    };
    let status = |of| -> CanisterStatusResult {
        let reply = manage("relay", "canister_status", &|| record(of)).unwrap();
        candid::decode_one(&reply).unwrap()
    };

    let by_argument = create();
    let created = status(by_argument);
    assert_eq!(created.settings.controllers, [id]);
    assert_eq!(created.module_hash, None);
    assert!(created.cycles > 1_000_000_000_000_u64);
    let install = |mode: CanisterInstallMode| {
        let args = InstallCodeArgs {
            mode,
            canister_id: by_argument,
            wasm_module: puppet_wasm(),
            arg: vec![7; 3],
            sender_canister_version: None,
        };
        manage("relay", "install_code", &|| encoded(&args)).unwrap()
    };
    install(CanisterInstallMode::Install);
    assert_eq!(counter(&pic, by_argument), 3, "its init got the argument");
    install(CanisterInstallMode::Upgrade(None));
    assert_eq!(counter(&pic, by_argument), 4, "its hooks have run");

    let upload = UploadChunkArgs {
        canister_id: id,
        chunk: puppet_wasm(),
    };
    let reply = manage("relay", "upload_chunk", &|| encoded(&upload)).unwrap();
    let chunk: ChunkHash = candid::decode_one(&reply).unwrap();
    let by_chunks = create();
    let args = |wasm_module_hash: Vec<u8>| InstallChunkedCodeArgs {
        mode: CanisterInstallMode::Install,
        target_canister: by_chunks,
        store_canister: Some(id),
        chunk_hashes_list: vec![chunk.clone()],
        wasm_module_hash,
        arg: vec![7; 5],
        sender_canister_version: None,
    };
    let other = manage("relay", "install_chunked_code", &|| {
        encoded(&args(vec![7; 32]))
    });
    assert_eq!(seen_reject(other).0, 5);
    let installed = manage("relay", "install_chunked_code", &|| {
        encoded(&args(chunk.hash.clone()))
    });
    assert_eq!(installed.unwrap(), b"DIDL\0\0");
    assert_eq!(counter(&pic, by_chunks), 5);
    assert_eq!(status(by_chunks).module_hash, Some(chunk.hash.clone()));

    let nobody = UpdateSettingsArgs {
        canister_id: by_chunks,
        settings: CanisterSettings {
            controllers: Some(vec![]),
            ..CanisterSettings::default()
        },
        sender_canister_version: None,
    };
    manage("relay", "update_settings", &|| encoded(&nobody)).unwrap();
    for method in ["canister_status", "stop_canister", "update_settings"] {
        let arg = || match method {
            "update_settings" => encoded(&nobody),
            _ => record(by_chunks),
        };
        let (code, text) = seen_reject(manage("relay", method, &arg));
        assert_eq!(code, 5, "{method}: {text}");
    }
    update(&pic, by_chunks, "inc").unwrap();
    let before = pic.cycle_balance(by_chunks);
    manage("relay_cycles", "deposit_cycles", &|| record(by_chunks)).unwrap();
    assert_eq!(pic.cycle_balance(by_chunks), before + 1_000_000);
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
