//! The management canister `aaaaa-aa`, called by users and by canisters.

mod chunks;
mod code;
mod lifecycle;
mod settings;
mod status;

pub(crate) use code::{Installation, NewCode};

use candid::{CandidType, DecoderConfig, Principal};
use ic_management_canister_types::{CanisterIdRecord, ProvisionalCreateCanisterWithCyclesArgs};
use pocket_ic::ErrorCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::call_context::{Origin, Request};
use crate::canister::Canister;
use crate::errors::{ApiError, Reject};
use crate::replica::Replica;

/// A call to the management canister, and the subnet whose management canister it is.
#[derive(Clone, Debug)]
pub struct SubnetRequest {
    /// The call.
    pub request: Request,
    /// Where a canister would be created.
    pub subnet: Principal,
}

/// Enough for every argument that fits into a message: candid counts some 50 for each byte, and 2 MiB fit.
const DECODING_QUOTA: usize = 200_000_000;

/// A reply, or `None` when it comes later.
type Answer = Result<Option<Vec<u8>>, Reject>;

/// The method by which users create canisters.
pub const PROVISIONAL_CREATE: &str = "provisional_create_canister_with_cycles";

/// Methods that users may call.
const FOR_USERS: &[&str] = &[
    "canister_metadata",
    "canister_status",
    "clear_chunk_store",
    "delete_canister",
    "install_chunked_code",
    "install_code",
    PROVISIONAL_CREATE,
    "provisional_top_up_canister",
    "start_canister",
    "stop_canister",
    "stored_chunks",
    "uninstall_code",
    "update_settings",
    "upload_chunk",
];
/// Methods that only canisters may call.
const FOR_CANISTERS: &[&str] = &[
    "create_canister",
    "deposit_cycles",
    "http_request",
    "raw_rand",
];
/// Methods that only the real management canister has.
const UNSUPPORTED: &[&str] = &[
    "bitcoin_get_balance",
    "bitcoin_get_block_headers",
    "bitcoin_get_current_fee_percentiles",
    "bitcoin_get_utxos",
    "bitcoin_send_transaction",
    "canister_info",
    "delete_canister_snapshot",
    "ecdsa_public_key",
    "fetch_canister_logs",
    "flexible_http_request",
    "list_canister_snapshots",
    "list_canisters",
    "load_canister_snapshot",
    "node_metrics_history",
    "read_canister_snapshot_data",
    "read_canister_snapshot_metadata",
    "rename_canister",
    "schnorr_public_key",
    "sign_with_ecdsa",
    "sign_with_schnorr",
    "subnet_info",
    "take_canister_snapshot",
    "upload_canister_snapshot_data",
    "upload_canister_snapshot_metadata",
    "vetkd_derive_key",
    "vetkd_public_key",
];

/// Encodes one value as a reply.
pub fn reply<T: CandidType>(value: &T) -> Result<Vec<u8>, Reject> {
    // Our own types always encode; a canister still gets an answer should that change.
    candid::encode_one(value)
        .map_err(|error| Reject::new(ErrorCode::CanisterWasmEngineError, error.to_string()))
}

/// The reply of methods that answer nothing.
pub fn empty_reply() -> Vec<u8> {
    b"DIDL\0\0".to_vec()
}

/// Decodes one argument, with a limit on the work that a few crafted bytes can cause.
pub fn decode<T: CandidType + DeserializeOwned>(payload: &[u8]) -> Result<T, Reject> {
    let mut config = DecoderConfig::new();
    config.set_decoding_quota(DECODING_QUOTA);
    candid::utils::decode_one_with_config(payload, &config).map_err(Reject::invalid_payload)
}

/// The canister that an ingress message to the management canister is about, and that pays for it.
pub fn target(method: &str, payload: &[u8]) -> Result<Option<Principal>, Reject> {
    #[derive(CandidType, Deserialize)]
    struct Target {
        target_canister: Principal,
    }
    match method {
        // Anyone may create canisters and cycles here, for nothing.
        PROVISIONAL_CREATE | "provisional_top_up_canister" => Ok(None),
        "install_chunked_code" => Ok(Some(decode::<Target>(payload)?.target_canister)),
        // A record with fewer fields can be read from one with more.
        _ => Ok(Some(decode::<CanisterIdRecord>(payload)?.canister_id)),
    }
}

/// The id that a call to create a canister asks for. The request as a whole is bad if its argument is.
pub fn specified_id(payload: &[u8]) -> Result<Option<Principal>, ApiError> {
    let args: ProvisionalCreateCanisterWithCyclesArgs = decode(payload)?;
    Ok(args.specified_id)
}

/// The canister that any other call is about, where nothing but its argument says so.
pub fn canister_id(payload: &[u8]) -> Result<Principal, ApiError> {
    let record: CanisterIdRecord = decode(payload)?;
    Ok(record.canister_id)
}

fn done(result: Result<(), Reject>) -> Answer {
    result.map(|()| Some(empty_reply()))
}

fn unknown_method(method: &str) -> Reject {
    Reject::new(
        ErrorCode::CanisterMethodNotFound,
        format!("Management canister has no method '{method}'"),
    )
}

impl Replica {
    /// Executes the calls that wait for the management canister.
    pub fn execute_subnet_inputs(&mut self) {
        while let Some(message) = self.subnet_inputs.pop_front() {
            let origin = message.request.origin.clone();
            let mut cycles = message.request.cycles;
            let answer = self.execute_management(message, &mut cycles);
            if let Some(result) = answer.transpose() {
                self.respond(origin, result, cycles);
            }
        }
    }

    /// Whether an ingress message to the management canister is let in.
    pub fn check_management_ingress(
        &mut self,
        sender: Principal,
        method: &str,
        payload: &[u8],
    ) -> Result<Result<(), Reject>, ApiError> {
        if FOR_USERS.contains(&method) {
            let target = match target(method, payload) {
                Ok(target) => target,
                Err(error) => {
                    return Ok(Err(Reject::new(
                        error.error,
                        format!(
                            "Failed to parse payload for ic00 method {method}: {}",
                            error.message
                        ),
                    )));
                }
            };
            return Ok(match target {
                Some(id) if method != "canister_metadata" => {
                    self.controlled(sender, id, method).map(|_| ())
                }
                _ => Ok(()),
            });
        }
        if FOR_CANISTERS.contains(&method) {
            return Ok(Err(Reject::new(
                ErrorCode::CanisterRejectedMessage,
                format!("ic00 method {method} can be called only by a canister"),
            )));
        }
        if UNSUPPORTED.contains(&method) {
            return Err(ApiError::unsupported(&format!(
                "management method {method}"
            )));
        }
        Ok(Err(Reject::new(
            ErrorCode::CanisterMethodNotFound,
            format!("ic00 interface does not expose method {method}"),
        )))
    }

    /// A query to the management canister.
    pub fn management_query(
        &mut self,
        sender: Principal,
        method: &str,
        payload: &[u8],
    ) -> Result<Result<Vec<u8>, Reject>, ApiError> {
        match method {
            "fetch_canister_logs" => Ok(self.fetch_canister_logs(sender, payload)),
            _ => Err(ApiError::unsupported(&format!(
                "query to management method {method}"
            ))),
        }
    }

    /// `cycles` is what is attached; what a method leaves of it goes back to the caller.
    fn execute_management(&mut self, message: SubnetRequest, cycles: &mut u128) -> Answer {
        let SubnetRequest { request, subnet } = message;
        let (sender, payload) = (request.sender, request.payload.as_slice());
        let from_user = matches!(request.origin, Origin::Ingress(_));
        match request.method.as_str() {
            PROVISIONAL_CREATE => self.provisional_create(sender, subnet, payload),
            "provisional_top_up_canister" => self.provisional_top_up(payload),
            "create_canister" if !from_user => {
                self.create_from_canister(sender, subnet, payload, cycles)
            }
            "update_settings" => self.update_settings(sender, payload),
            "canister_status" => self.canister_status(sender, payload),
            "canister_metadata" => self.canister_metadata(sender, payload),
            "start_canister" => self.start_canister(sender, payload),
            "stop_canister" => self.stop_canister(request),
            "delete_canister" => self.delete_canister(sender, payload),
            "uninstall_code" => self.uninstall_code(sender, payload),
            "install_code" => self.install_code(sender, payload),
            "install_chunked_code" => self.install_chunked_code(sender, payload),
            "upload_chunk" => self.upload_chunk(sender, payload),
            "clear_chunk_store" => self.clear_chunk_store(sender, payload),
            "stored_chunks" => self.stored_chunks(sender, payload),
            "deposit_cycles" if !from_user => self.deposit_cycles(payload, cycles),
            "raw_rand" if !from_user => {
                self.postponed.push(request);
                Ok(None)
            }
            "http_request" if !from_user => self.http_request(request, subnet, cycles),
            method if UNSUPPORTED.contains(&method) => {
                Err(Reject::unsupported(&format!("management method {method}")))
            }
            method => Err(unknown_method(method)),
        }
    }

    /// The canister, if the sender may manage it.
    fn controlled(
        &mut self,
        sender: Principal,
        id: Principal,
        method: &str,
    ) -> Result<&mut Canister, Reject> {
        let canister = self.canister(id)?;
        if canister.is_controller(sender) {
            return Ok(canister);
        }
        Err(Reject::new(
            ErrorCode::CanisterInvalidController,
            format!("Only controllers of canister {id} can call ic00 method {method}"),
        ))
    }
}
