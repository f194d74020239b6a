//! Prices of a 13-node application subnet.

use super::*;

/// Sending a request.
const CALL: u128 = 260_000;
/// A byte of a request or of a response.
const BYTE: u128 = 1_000;
/// Kept back for the longest response callback: 40 billion instructions and the base fee.
const CALLBACK: u128 = 40_000_000_000 + 5_000_000;
const CREATE_CANISTER: u128 = 500_000_000_000;
const NODES: u128 = 13;

/// What must be there for a call to be sent; what isn't used of it comes back with the response.
pub(super) fn call_fee(bytes: u64) -> u128 {
    CALL + BYTE * u128::from(bytes) + BYTE * MAX_PAYLOAD as u128 + CALLBACK
}

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "ic0",
        "cost_call",
        |mut caller: Caller<'_, State>, name: u64, payload: u64, target: u32| {
            enter(&mut caller, "cost_call", ANY | S, BASIC)?;
            write(
                &mut caller,
                "cost_call",
                target,
                &call_fee(name.saturating_add(payload)).to_le_bytes(),
            )
        },
    )?;
    linker.func_wrap(
        "ic0",
        "cost_create_canister",
        |mut caller: Caller<'_, State>, target: u32| {
            enter(&mut caller, "cost_create_canister", ANY | S, BASIC)?;
            write(
                &mut caller,
                "cost_create_canister",
                target,
                &CREATE_CANISTER.to_le_bytes(),
            )
        },
    )?;
    linker.func_wrap(
        "ic0",
        "cost_http_request",
        |mut caller: Caller<'_, State>, request: u64, response: u64, target: u32| {
            enter(&mut caller, "cost_http_request", ANY | S, BASIC)?;
            let per_node =
                3_000_000 + 60_000 * NODES + 400 * u128::from(request) + 800 * u128::from(response);
            write(
                &mut caller,
                "cost_http_request",
                target,
                &(per_node * NODES).to_le_bytes(),
            )
        },
    )?;
    linker.func_wrap(
        "ic0",
        "cost_http_request_v2",
        |_: u32, _: u32, _: u32| -> Result<()> { unsupported("cost_http_request_v2") },
    )?;
    for name in [
        "cost_sign_with_ecdsa",
        "cost_sign_with_schnorr",
        "cost_vetkd_derive_key",
    ] {
        linker.func_wrap(
            "ic0",
            name,
            move |_: u32, _: u32, _: u32, _: u32| -> Result<u32> { unsupported(name) },
        )?;
    }
    Ok(())
}
