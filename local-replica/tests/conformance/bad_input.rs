//! Requests that make no sense: told so, and the server lives on.

use pocket_ic::common::rest::{RawCanisterCall, RawEffectivePrincipal};
use pocket_ic::{ErrorCode, PocketIc};
use reqwest::blocking::{Client, Response};

use crate::world::{USER, counter, pocket_ic, puppet, query};

fn post(pic: &PocketIc, path: &str, body: &str) -> Response {
    let url = pic.get_server_url().join(path).unwrap();
    Client::new()
        .post(url)
        .body(body.to_owned())
        .send()
        .unwrap()
}

fn on_instance(pic: &PocketIc, operation: &str, body: &str) -> Response {
    post(
        pic,
        &format!("/instances/{}/{operation}", pic.instance_id()),
        body,
    )
}

fn refused(response: Response) -> String {
    assert!(response.status().is_client_error() || response.status().is_server_error());
    response.text().unwrap()
}

#[test]
fn malformed_requests() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    for body in [
        "",
        "{",
        "[]",
        "{\"canister_id\": 5}",
        "null",
        "{\"canister_id\": \"not base64\"}",
    ] {
        for operation in [
            "read/get_cycles",
            "read/query",
            "update/submit_ingress_message",
        ] {
            refused(on_instance(&pic, operation, body));
        }
    }
    // 30 bytes are too long for a principal.
    let long = "A".repeat(40);
    refused(on_instance(
        &pic,
        "read/get_cycles",
        &format!("{{\"canister_id\": \"{long}\"}}"),
    ));
    refused(post(
        &pic,
        "/instances/12345/update/tick",
        "{\"blockmakers\": null}",
    ));
    refused(post(
        &pic,
        "/instances/x/update/tick",
        "{\"blockmakers\": null}",
    ));
    refused(on_instance(&pic, "update/no_such_operation", "{}"));
    refused(on_instance(
        &pic,
        "update/set_time",
        "{\"nanos_since_epoch\": 1}",
    ));
    let created = post(&pic, "/instances", "{}").text().unwrap();
    assert!(created.contains("Error"), "{created}");
    assert_eq!(counter(&pic, id), 0, "the instance is still there");
}

#[test]
fn invalid_modules() {
    let pic = pocket_ic();
    let id = pic.create_canister();
    let invalid: [&[u8]; 4] = [
        b"",
        b"\0asm",
        b"not a module at all",
        &[0x1f, 0x8b, 8, 0, 1],
    ];
    for wasm in invalid {
        let reject = pic
            .reinstall_canister(id, wasm.to_vec(), Vec::new(), None)
            .expect_err("invalid");
        assert_eq!(
            reject.error_code,
            ErrorCode::CanisterInvalidWasm,
            "{reject}"
        );
    }
    let unknown_import = wat::parse_str(r#"(module (import "env" "f" (func)))"#).unwrap();
    let reject = pic
        .reinstall_canister(id, unknown_import, Vec::new(), None)
        .expect_err("invalid");
    assert_eq!(reject.error_code, ErrorCode::CanisterInvalidWasm);
    let reject = query(&pic, id, "get").expect_err("nothing installed");
    assert_eq!(reject.error_code, ErrorCode::CanisterWasmModuleNotFound);
}

#[test]
fn oversized_modules() {
    use std::io::Write;
    let pic = pocket_ic();
    let id = puppet(&pic);
    // Small to send, and over 100 MiB when it is unpacked.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(b"\0asm\x01\0\0\0").unwrap();
    for _ in 0..101 {
        packed.write_all(&[0; 1 << 20]).unwrap();
    }
    let reject = pic
        .reinstall_canister(id, packed.finish().unwrap(), Vec::new(), None)
        .expect_err("oversized");
    assert_eq!(
        reject.error_code,
        ErrorCode::CanisterInvalidWasm,
        "{reject}"
    );
    // Zeros are no module either: it must be the size that is found first.
    assert!(reject.reject_message.contains("decompress"), "{reject}");
    assert_eq!(counter(&pic, id), 0, "the old module is still there");
}

#[test]
fn bad_management_arguments() {
    let pic = pocket_ic();
    let management = candid::Principal::management_canister();
    let call = |method: &str, payload: &[u8]| {
        pic.update_call(management, USER, method, payload.to_vec())
            .expect_err("refused")
    };
    for payload in [&b""[..], b"garbage", b"DIDL\0\0"] {
        assert_eq!(
            call("stop_canister", payload).error_code,
            ErrorCode::InvalidManagementPayload
        );
    }
    assert_eq!(
        call("no_such_method", b"").error_code,
        ErrorCode::CanisterMethodNotFound
    );
}

#[test]
fn oversized_payload() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let call = RawCanisterCall {
        sender: USER.as_slice().to_vec(),
        canister_id: id.as_slice().to_vec(),
        effective_principal: RawEffectivePrincipal::None,
        method: "inc".to_owned(),
        payload: vec![0; 3 << 20],
        sender_info: None,
    };
    let body = serde_json::to_string(&call).unwrap();
    refused(on_instance(&pic, "update/submit_ingress_message", &body));
    assert_eq!(counter(&pic, id), 0);
}

#[test]
fn end_of_time() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let far = format!("{{\"nanos_since_epoch\": {}}}", u64::MAX);
    assert!(
        on_instance(&pic, "update/set_time", &far)
            .status()
            .is_success()
    );
    pic.tick();
    pic.tick();
    assert_eq!(counter(&pic, id), 0);
    let other = pocket_ic();
    assert_eq!(counter(&other, puppet(&other)), 0);
}
