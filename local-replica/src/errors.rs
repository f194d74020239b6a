//! Rejects and request errors, with the codes and texts of the IC.

use candid::Principal;
use pocket_ic::{ErrorCode, RejectCode, RejectResponse};

use crate::engine::Trap;

/// Why a call was not answered with a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The IC's error code; its first digit is the reject code.
    pub error: ErrorCode,
    /// The text an external user sees.
    pub message: String,
    /// Canisters see the text of a system error with its `IC0nnn: ` in front; a canister's own reject has none.
    pub prefixed: bool,
}

impl Reject {
    /// A system error.
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            message: message.into(),
            prefixed: true,
        }
    }

    /// A reject whose text canisters see as it is.
    pub fn plain(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            message: message.into(),
            prefixed: false,
        }
    }

    /// No such canister.
    pub fn canister_not_found(id: Principal) -> Self {
        Self::new(
            ErrorCode::CanisterNotFound,
            format!("Canister {id} not found"),
        )
    }

    /// The canister has no code.
    pub fn no_wasm_module(id: Principal) -> Self {
        Self::new(
            ErrorCode::CanisterWasmModuleNotFound,
            format!(
                "Error from Canister {id}: Attempted to execute a message, but the canister contains no Wasm module."
            ),
        )
    }

    /// The module exports no such method.
    pub fn method_not_found(id: Principal, kind: &str, method: &str) -> Self {
        Self::new(
            ErrorCode::CanisterMethodNotFound,
            format!("Error from Canister {id}: Canister has no {kind} method '{method}'."),
        )
    }

    /// The call context ended with neither a reply nor an outstanding call.
    pub fn did_not_reply(id: Principal) -> Self {
        Self::new(
            ErrorCode::CanisterDidNotReply,
            format!("Canister {id} did not reply to the call"),
        )
    }

    /// A method or feature that only the real server has.
    pub fn unsupported(what: &str) -> Self {
        Self::new(
            ErrorCode::UnknownManagementMessage,
            format!("not supported by local-replica: {what}"),
        )
    }

    /// The arguments of a management call don't decode.
    pub fn invalid_payload(error: impl std::fmt::Display) -> Self {
        Self::new(
            ErrorCode::InvalidManagementPayload,
            format!("Error decoding candid: {error}"),
        )
    }

    /// The text of a trap in the IC's words.
    pub fn from_trap(id: Principal, trap: &Trap, limit: u64) -> Self {
        let (error, text) = match trap {
            Trap::Explicit(text) => (
                ErrorCode::CanisterCalledTrap,
                format!("Canister called `ic0.trap` with message: '{text}'"),
            ),
            Trap::OutOfInstructions => (
                ErrorCode::CanisterInstructionLimitExceeded,
                format!(
                    "Canister exceeded the limit of {limit} instructions for single message execution."
                ),
            ),
            Trap::Wasm(text) => (
                ErrorCode::CanisterTrapped,
                format!("Canister trapped: {text}"),
            ),
            Trap::Injected(_) => (ErrorCode::CanisterTrapped, trap.to_string()),
            Trap::Contract(text) => (ErrorCode::CanisterContractViolation, contract_text(text)),
            Trap::OutOfCycles => (
                ErrorCode::CanisterOutOfCycles,
                "Canister is out of cycles".to_owned(),
            ),
            Trap::MethodNotFound(name) => (
                ErrorCode::CanisterMethodNotFound,
                format!("Canister has no method '{name}'."),
            ),
        };
        Self::new(error, format!("Error from Canister {id}: {text}"))
    }

    /// The reject code.
    pub fn code(&self) -> RejectCode {
        reject_code(self.error)
    }

    /// Code and text as `ic0.msg_reject_code` and `msg_reject_msg_copy` give them.
    pub fn for_canister(&self) -> (u32, String) {
        let text = if self.prefixed {
            format!("{}: {}", self.error, self.message)
        } else {
            self.message.clone()
        };
        (self.code() as u32, text)
    }

    /// As the HTTP client gets it; certified once it came through an ingress status.
    pub fn for_user(&self, certified: bool) -> RejectResponse {
        RejectResponse {
            reject_code: self.code(),
            reject_message: self.message.clone(),
            error_code: self.error,
            certified,
        }
    }
}

fn contract_text(text: &str) -> String {
    const PREFIX: &str = "Canister violated contract: ";
    if text.starts_with(PREFIX) {
        text.to_owned()
    } else {
        format!("{PREFIX}{text}")
    }
}

fn reject_code(error: ErrorCode) -> RejectCode {
    match error as u64 / 100 {
        1 => RejectCode::SysFatal,
        2 => RejectCode::SysTransient,
        3 => RejectCode::DestinationInvalid,
        4 => RejectCode::CanisterReject,
        6 => RejectCode::SysUnknown,
        _ => RejectCode::CanisterError,
    }
}

/// A request that is refused as a whole, with an HTTP status and `{"message": ...}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// What is wrong.
    pub message: String,
}

impl ApiError {
    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: message.into(),
        }
    }

    /// 403
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self {
            status: 403,
            message: message.into(),
        }
    }

    /// 404
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: 404,
            message: message.into(),
        }
    }

    /// 501: the real server has it, this one hasn't.
    pub fn unsupported(what: &str) -> Self {
        Self {
            status: 501,
            message: format!("not supported by local-replica: {what}"),
        }
    }

    /// 500: our own fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            status: 500,
            message: message.into(),
        }
    }

    /// PocketIC's answer to a read about a canister that isn't there.
    pub fn canister_not_found(id: Principal) -> Self {
        Self::bad_request(format!("Canister {id} not found."))
    }
}

impl From<Reject> for ApiError {
    fn from(reject: Reject) -> Self {
        Self::bad_request(reject.message)
    }
}
