//! Requests that make no sense: told so, and the server lives on.

use pocket_ic::common::rest::{RawCanisterCall, RawEffectivePrincipal};
use pocket_ic::{ErrorCode, PocketIc};
use reqwest::blocking::{Client, Response};

use crate::world::{USER, counter, pocket_ic, puppet, query};

fn post(pic: &PocketIc, path: &str, body: &str) -> Response {
    let url = pic.get_server_url().join(path).unwrap();
    Client::new()
        .post(url)
        .header("Content-Type", "application/json")
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
    refused(post(&pic, "/instances", "{}"));
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
    let text = "Canister's Wasm module is not valid: Wasm module size of 105906184 exceeds the maximum allowed size \
                of 104857600.";
    assert!(reject.reject_message.contains(text), "{reject}");
    assert_eq!(counter(&pic, id), 0, "the old module is still there");
}

#[test]
fn requests_have_to_say_that_they_are_json() {
    let pic = pocket_ic();
    let url = pic.get_server_url();
    let time = pic.get_time();
    let tick = url.join(&format!("/instances/{}/update/tick", pic.instance_id()));
    let tick = tick.unwrap();
    let body = "{\"blockmakers\": null}";
    for kind in [None, Some("text/plain")] {
        let request = Client::new().post(tick.clone()).body(body);
        let request = match kind {
            Some(kind) => request.header("Content-Type", kind),
            None => request,
        };
        assert_eq!(request.send().unwrap().status(), 415, "{kind:?}");
    }
    assert_eq!(pic.get_time(), time, "no round was executed");
    let charset = "application/json; charset=utf-8";
    let request = Client::new().post(tick).body(body);
    let response = request.header("Content-Type", charset).send().unwrap();
    assert!(response.status().is_success());
}

fn management_call(
    effective_principal: RawEffectivePrincipal,
    method: &str,
    payload: &[u8],
) -> String {
    let call = RawCanisterCall {
        sender: USER.as_slice().to_vec(),
        canister_id: Vec::new(),
        effective_principal,
        method: method.to_owned(),
        payload: payload.to_vec(),
        sender_info: None,
    };
    serde_json::to_string(&call).unwrap()
}

#[test]
fn bad_management_arguments() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let management = candid::Principal::management_canister();
    for payload in [&b""[..], b"garbage", b"DIDL\0\0"] {
        // Without an effective canister, the argument is needed to find a subnet.
        for method in ["stop_canister", "no_such_method", "raw_rand"] {
            let body = management_call(RawEffectivePrincipal::None, method, payload);
            for operation in ["update/submit_ingress_message", "read/query"] {
                let response = on_instance(&pic, operation, &body);
                assert_eq!(response.status(), 400, "{method}");
                let text = refused(response);
                assert!(text.contains("Error decoding candid"), "{text}");
            }
        }
        let effective = RawEffectivePrincipal::CanisterId(id.as_slice().to_vec());
        let reject = pic
            .submit_call_with_effective_principal(
                management,
                effective,
                USER,
                "stop_canister",
                payload.to_vec(),
            )
            .expect_err("refused");
        assert_eq!(reject.error_code, ErrorCode::InvalidManagementPayload);
    }
    // The management canister belongs to no subnet.
    let itself = RawEffectivePrincipal::CanisterId(management.as_slice().to_vec());
    let body = management_call(itself, "stop_canister", b"DIDL\0\0");
    let response = on_instance(&pic, "update/submit_ingress_message", &body);
    assert_eq!(response.status(), 400);
    let effective = RawEffectivePrincipal::CanisterId(id.as_slice().to_vec());
    let reject = pic
        .submit_call_with_effective_principal(
            management,
            effective,
            USER,
            "no_such_method",
            b"DIDL\0\0".to_vec(),
        )
        .expect_err("refused");
    assert_eq!(reject.error_code, ErrorCode::CanisterMethodNotFound);
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
