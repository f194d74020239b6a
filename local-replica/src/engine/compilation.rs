//! What the IC's instrumentation adds to a module. Installation charges for it as for the module's own instructions,
//! so it has to be counted though ours looks different.

/// A block's charge.
pub(super) const CHARGE: u64 = 4;
/// The test of the counter at the start of functions and loops.
pub(super) const TEST: u64 = 6;
/// The charge of a bulk operator's operand.
pub(super) const CHARGE_OPERAND: u64 = 3;
/// The check around `memory.grow`.
pub(super) const MEMORY_GROW: u64 = 3;
/// The helpers that charge operands and count clean pages of stable memory.
const HELPERS: u64 = 20 + 46;
/// The counters of instructions, dirty and accessed pages.
const GLOBALS: u64 = 3;
/// A global's initial value, and the end of the expression.
const GLOBAL: u64 = 2;

/// Everything outside of functions, and the helpers, of a module with so many globals.
pub(super) fn fixed(globals: u32) -> u64 {
    HELPERS + GLOBAL * (u64::from(globals) + GLOBALS)
}

/// The function that takes an import's place.
pub(super) fn replacement(import: &str) -> u64 {
    match import {
        "stable64_size" => 2,
        "stable64_grow" => 21,
        "stable64_read" => 119,
        "stable64_write" => 107,
        "stable_size" => 10,
        "stable_grow" => 24,
        "stable_read" => 106,
        "stable_write" => 92,
        _ => 0,
    }
}
