//! Installing, upgrading, reinstalling: what stays and what goes.

use candid::Principal;
use ic_management_canister_types::{CanisterInstallMode, InstallCodeArgs, UpgradeFlags};
use pocket_ic::common::rest::{BlobCompression, IcpConfig, IcpConfigFlag, RawEffectivePrincipal};
use pocket_ic::nonblocking::PocketIc as Nonblocking;
use pocket_ic::{ErrorCode, PocketIc, RejectResponse, call_candid};

use crate::world::{builder, counter, install, number, pocket_ic, puppet, puppet_wasm, update};

#[test]
fn upgrade_keeps_stable_memory_and_drops_the_heap() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    update(&pic, id, "inc").unwrap();
    pic.upgrade_canister(id, puppet_wasm(), Vec::new(), None)
        .unwrap();
    // pre_upgrade counts one and saves; post_upgrade loads.
    assert_eq!(counter(&pic, id), 2);
    assert_eq!(pic.get_stable_memory(id)[..4], 2_u32.to_le_bytes());
}

fn upgrade_without_pre_upgrade(
    pic: &PocketIc,
    id: Principal,
    arg: Vec<u8>,
) -> Result<(), RejectResponse> {
    let args = InstallCodeArgs {
        mode: CanisterInstallMode::Upgrade(Some(UpgradeFlags {
            skip_pre_upgrade: Some(true),
            wasm_memory_persistence: None,
        })),
        canister_id: id,
        wasm_module: puppet_wasm(),
        arg,
        sender_canister_version: None,
    };
    call_candid(
        pic,
        Principal::management_canister(),
        RawEffectivePrincipal::CanisterId(id.as_slice().to_vec()),
        "install_code",
        (args,),
    )
}

#[test]
fn failed_upgrade_leaves_everything_as_it_was() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    update(&pic, id, "inc").unwrap();
    update(&pic, id, "grow").unwrap();
    let stable = pic.get_stable_memory(id);
    let reject = upgrade_without_pre_upgrade(&pic, id, vec![0; 4]).expect_err("post_upgrade traps");
    assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
    assert_eq!(counter(&pic, id), 1);
    assert_eq!(pic.get_stable_memory(id), stable);
    assert_eq!(number(update(&pic, id, "inc")), 2);
}

#[test]
fn failed_upgrade_undoes_what_pre_upgrade_wrote() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    update(&pic, id, "inc").unwrap();
    let reject = pic
        .upgrade_canister(id, puppet_wasm(), vec![0; 4], None)
        .expect_err("post_upgrade traps");
    assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
    assert!(pic.get_stable_memory(id).is_empty());
    assert_eq!(counter(&pic, id), 1);
}

#[test]
fn pre_upgrade_can_be_skipped() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    update(&pic, id, "grow").unwrap();
    update(&pic, id, "inc").unwrap();
    upgrade_without_pre_upgrade(&pic, id, Vec::new()).unwrap();
    assert_eq!(counter(&pic, id), 0, "nothing was saved");
}

#[test]
fn reinstall_clears_stable_memory() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    update(&pic, id, "grow").unwrap();
    update(&pic, id, "inc").unwrap();
    assert_eq!(pic.get_stable_memory(id).len(), 65_536);
    pic.reinstall_canister(id, puppet_wasm(), vec![0; 5], None)
        .unwrap();
    assert!(pic.get_stable_memory(id).is_empty());
    assert_eq!(counter(&pic, id), 5, "init got its argument");
}

#[test]
fn install_and_upgrade_want_the_right_state() {
    let pic = pocket_ic();
    let id = pic.create_canister();
    let reject = pic
        .upgrade_canister(id, puppet_wasm(), Vec::new(), None)
        .expect_err("nothing to upgrade");
    assert_eq!(reject.error_code, ErrorCode::CanisterWasmModuleNotFound);
    pic.install_canister(id, puppet_wasm(), Vec::new(), None);
    let args = InstallCodeArgs {
        mode: CanisterInstallMode::Install,
        canister_id: id,
        wasm_module: puppet_wasm(),
        arg: Vec::new(),
        sender_canister_version: None,
    };
    let result: Result<(), _> = call_candid(
        &pic,
        Principal::management_canister(),
        RawEffectivePrincipal::CanisterId(id.as_slice().to_vec()),
        "install_code",
        (args,),
    );
    assert_eq!(
        result.expect_err("already installed").error_code,
        ErrorCode::CanisterNonEmpty
    );
}

#[test]
fn big_modules_are_installed_in_chunks() {
    let pic = pocket_ic();
    let id = pic.create_canister();
    // Padding in a custom section makes the client choose chunks.
    let mut wasm = puppet_wasm();
    let padding = vec![0; 2_500_000];
    let mut section = vec![3, b'p', b'a', b'd'];
    section.extend_from_slice(&padding);
    wasm.push(0);
    let mut length = section.len();
    while length >= 0x80 {
        wasm.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    wasm.push(length as u8);
    wasm.extend_from_slice(&section);
    pic.install_canister(id, wasm, Vec::new(), None);
    assert_eq!(number(update(&pic, id, "inc")), 1);
}

/// Its installation takes more instructions than a canister may use for installations in a round, and in two.
fn busy_init() -> Vec<u8> {
    const WAT: &str = r#"(module
      (import "ic0" "msg_reply" (func $reply))
      (func (export "canister_init") (local $left i64)
        (local.set $left (i64.const 1000000000))
        (loop $again
          (local.set $left (i64.sub (local.get $left) (i64.const 1)))
          (br_if $again (i64.ne (local.get $left) (i64.const 0)))))
      (func (export "canister_update hello") (call $reply)))"#;
    wat::parse_str(WAT).unwrap()
}

#[test]
fn much_work_in_an_installation_delays_the_next() {
    let pic = pocket_ic();
    let id = install(&pic, busy_init());
    let again = || pic.upgrade_canister(id, busy_init(), Vec::new(), None);
    let reject = again().expect_err("too early");
    assert_eq!(reject.error_code, ErrorCode::CanisterInstallCodeRateLimited);
    let text = format!(
        "Canister {id} is rate limited because it executed too many instructions in the previous install_code messages."
    );
    assert!(reject.reject_message.starts_with(&text), "{reject}");
    for _ in 0..10 {
        pic.tick();
    }
    again().expect("the rounds have made up for it");
}

#[test]
fn installations_can_be_had_without_a_limit() {
    let config = IcpConfig {
        canister_execution_rate_limiting: Some(IcpConfigFlag::Disabled),
        ..IcpConfig::default()
    };
    let pic = builder()
        .with_application_subnet()
        .with_icp_config(config)
        .build();
    let id = install(&pic, busy_init());
    pic.upgrade_canister(id, busy_init(), Vec::new(), None)
        .expect("no limit");
}

#[test]
fn stable_memory_can_be_set() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let mut data = vec![0; 65_536];
    data[..4].copy_from_slice(&7_u32.to_le_bytes());
    pic.set_stable_memory(id, data.clone(), BlobCompression::NoCompression);
    assert_eq!(pic.get_stable_memory(id), data);
}

#[test]
fn nonblocking_client_works_too() {
    fn check(pic: PocketIc) -> impl Future<Output = ()> {
        let url = pic.get_server_url();
        let instance = pic.instance_id();
        async move {
            let client = Nonblocking::new_from_existing_instance(url, instance, None);
            let id = client.create_canister().await;
            client
                .install_canister(id, puppet_wasm(), Vec::new(), None)
                .await;
            let reply = client
                .update_call(id, Principal::anonymous(), "inc", Vec::new())
                .await;
            assert_eq!(number(reply), 1);
            drop(client);
            tokio::task::spawn_blocking(move || drop(pic))
                .await
                .unwrap();
        }
    }
    let pic = pocket_ic();
    tokio::runtime::Runtime::new().unwrap().block_on(check(pic));
}
