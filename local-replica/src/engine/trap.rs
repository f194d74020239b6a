//! Traps in the IC's words.

use super::Trap;

impl Trap {
    /// The trap behind an engine error: one of ours, raised by a system call, or a Wasm trap.
    pub(super) fn of(error: &wasmtime::Error) -> Self {
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return trap.clone();
        }
        let text = match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::StackOverflow) => "stack overflow",
            Some(wasmtime::Trap::MemoryOutOfBounds | wasmtime::Trap::HeapMisaligned) => {
                "heap out of bounds"
            }
            Some(wasmtime::Trap::TableOutOfBounds) => "table out of bounds",
            Some(wasmtime::Trap::IntegerDivisionByZero) => "integer division by 0",
            Some(wasmtime::Trap::UnreachableCodeReached) => "unreachable",
            // The IC has no words for the others: null or mistyped indirect calls, overflowing conversions.
            Some(_) => "unknown",
            None => return Trap::Wasm(error.to_string()),
        };
        Trap::Wasm(text.to_owned())
    }

    /// What the canister's log says of it; the IC logs no other kinds of failure.
    pub(super) fn log_line(&self) -> Option<String> {
        match self {
            Trap::Explicit(text) if text.is_empty() => Some("[TRAP]: (no message)".to_owned()),
            Trap::Explicit(text) | Trap::Wasm(text) => Some(format!("[TRAP]: {text}")),
            Trap::Injected(at) => Some(format!("[TRAP]: injected by local-replica at {at}")),
            _ => None,
        }
    }
}
