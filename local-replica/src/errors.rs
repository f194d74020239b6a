//! Rejects and request errors, with the codes and texts of the IC.

use std::fmt::{self, Display, Formatter};

use candid::Principal;
use pocket_ic::{ErrorCode, RejectCode, RejectResponse};

use crate::engine::{InvalidModule, Trap};

/// Where the IC's documentation explains its errors, a section each.
const DOCUMENTATION: &str = "https://internetcomputer.org/docs/current/references/execution-errors";

/// What the IC says below an error about what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// The canister's author can do something.
    User {
        /// A sentence.
        advice: &'static str,
        /// The section in the documentation.
        section: &'static str,
    },
    /// The author's tools are at fault.
    Toolchain,
    /// The IC is at fault.
    Internal,
    /// Nothing.
    Nothing,
}

impl Display for Help {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            // Some errors have advice without a section; the IC doesn't leave the label out then.
            Self::User {
                advice,
                section: "",
            } => write!(f, "{advice} See documentation: "),
            Self::User { advice, section } => {
                write!(f, "{advice} See documentation: {DOCUMENTATION}#{section}")
            }
            Self::Toolchain => f.write_str(
                "This is likely an error with the compiler/CDK toolchain being used to build the canister. Please \
                 report the error to IC devs on the forum: https://forum.dfinity.org and include which language/CDK \
                 was used to create the canister.",
            ),
            Self::Internal => f.write_str(
                "This is an internal error on the IC. Please report it to IC devs on the forum: \
                 https://forum.dfinity.org",
            ),
            Self::Nothing => Ok(()),
        }
    }
}

/// Why a call was not answered with a reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

    /// An error in a canister's code, or of one who calls it.
    fn from_canister(error: ErrorCode, id: Principal, text: impl Display, help: Help) -> Self {
        let message = match help {
            Help::Nothing => format!("Error from Canister {id}: {text}"),
            help => format!("Error from Canister {id}: {text}.\n{help}"),
        };
        Self::new(error, message)
    }

    /// The management canister's own error.
    pub fn from_management(error: ErrorCode, text: impl Display, help: Help) -> Self {
        Self::new(error, format!("{text}\n{help}"))
    }

    /// No such canister.
    pub fn canister_not_found(id: Principal) -> Self {
        Self::new(
            ErrorCode::CanisterNotFound,
            format!("Canister {id} not found"),
        )
    }

    /// A canister called an id that belongs to no subnet.
    pub fn no_route(id: Principal) -> Self {
        Self::plain(
            ErrorCode::CanisterNotFound,
            format!("No route to canister {id}"),
        )
    }

    /// The canister has no code.
    pub fn no_wasm_module(id: Principal) -> Self {
        Self::from_canister(
            ErrorCode::CanisterWasmModuleNotFound,
            id,
            "Attempted to execute a message, but the canister contains no Wasm module.",
            Help::User {
                advice: "Please install code to this canister before calling it.",
                section: "wasm-module-not-found",
            },
        )
    }

    /// The module can't be installed.
    pub fn invalid_wasm(id: Principal, error: &InvalidModule) -> Self {
        Self::from_canister(
            ErrorCode::CanisterInvalidWasm,
            id,
            format_args!("Canister's Wasm module is not valid: {error}"),
            match error {
                InvalidModule::Invalid(_) => Help::Toolchain,
                InvalidModule::TooLarge { .. } => Help::User {
                    advice: "Try shrinking the module using tools like `ic-wasm` or splitting the logic across \
                             multiple canisters.",
                    section: "wasm-module-too-large",
                },
            },
        )
    }

    /// The module exports no such method.
    pub fn method_not_found(id: Principal, kind: &str, method: &str) -> Self {
        Self::from_canister(
            ErrorCode::CanisterMethodNotFound,
            id,
            format_args!("Canister has no {kind} method '{method}'."),
            METHOD_NOT_FOUND,
        )
    }

    /// The call context ended with neither a reply nor an outstanding call, as an external user is told.
    pub fn did_not_reply(id: Principal) -> Self {
        Self::new(
            ErrorCode::CanisterDidNotReply,
            format!("Canister {id} did not reply to the call"),
        )
    }

    /// The same, as a calling canister is told.
    pub fn no_response() -> Self {
        Self::plain(ErrorCode::CanisterDidNotReply, "No response")
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

    /// The text of a trap in the IC's words, without a backtrace.
    pub fn from_trap(id: Principal, trap: &Trap, limit: u64) -> Self {
        const HANDLE: &str = "Consider gracefully handling failures from this canister or altering the canister to \
                              handle exceptions.";
        let (error, text, help) = match trap {
            Trap::Explicit(text) => (
                ErrorCode::CanisterCalledTrap,
                format!("Canister called `ic0.trap` with message: '{text}'"),
                Help::User {
                    advice: HANDLE,
                    section: "trapped-explicitly",
                },
            ),
            Trap::OutOfInstructions => (
                ErrorCode::CanisterInstructionLimitExceeded,
                format!(
                    "Canister exceeded the limit of {limit} instructions for single message execution."
                ),
                Help::User {
                    advice: "Try optimizing this method to consume fewer instructions or split the work across \
                             multiple messages.",
                    section: "instruction-limit-exceeded",
                },
            ),
            Trap::Wasm(_) | Trap::Injected(_) => (
                ErrorCode::CanisterTrapped,
                trap.to_string(),
                Help::User {
                    advice: HANDLE,
                    section: "trapped",
                },
            ),
            Trap::Contract(text) => (
                ErrorCode::CanisterContractViolation,
                contract_text(text),
                Help::Toolchain,
            ),
            Trap::OutOfCycles => (
                ErrorCode::CanisterOutOfCycles,
                "Canister is out of cycles".to_owned(),
                Help::Nothing,
            ),
            Trap::MethodNotFound(name) => (
                ErrorCode::CanisterMethodNotFound,
                format!("Canister has no method '{name}'."),
                METHOD_NOT_FOUND,
            ),
        };
        Self::from_canister(error, id, text, help)
    }

    /// The text of a trap in a callback whose cleanup trapped too.
    pub fn with_cleanup(mut self, cleanup: &Self) -> Self {
        self.message = format!(
            "{}\n\ncall_on_cleanup also failed:\n\n{}",
            self.message, cleanup.message
        );
        self
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

const METHOD_NOT_FOUND: Help = Help::User {
    advice: "Check that the method being called is exported by the target canister.",
    section: "method-not-found",
};

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

    /// 415
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self {
            status: 415,
            message: message.into(),
        }
    }

    /// 422
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self {
            status: 422,
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

    /// 400
    pub fn subnet_not_found(id: Principal) -> Self {
        Self::bad_request(format!("Subnet with ID {id} not found"))
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
