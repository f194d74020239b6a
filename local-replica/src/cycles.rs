//! What things cost: the prices of a 13-node application subnet, in cycles.

use candid::Principal;

/// Charged for each executed message, callback, timer or heartbeat.
pub const EXECUTION_BASE: u128 = 5_000_000;
/// Instructions charged for each 4 KiB heap page a message wrote, after its last one.
pub const DIRTY_PAGE_INSTRUCTIONS: u64 = 1_000;
/// Charged for creating a canister from a canister.
pub const CREATE_CANISTER: u128 = 500_000_000_000;
/// Storage for one GiB and second.
const GIB_SECOND: u128 = 127_000;

const INGRESS_BASE: u128 = 1_200_000;
const INGRESS_BYTE: u128 = 2_000;
/// The envelope's fixed part: field names, expiry, nonce. Measured on the real server.
const ENVELOPE_BYTES: usize = 106;
const CALL_BASE: u128 = 260_000;
const CALL_BYTE: u128 = 1_000;
/// What a subnet is priced as, and how many of its nodes make an outcall.
pub const NODES: usize = 13;

/// Instruction limits per kind of message.
pub mod limit {
    /// Updates, callbacks, timers and heartbeats.
    pub const UPDATE: u64 = 40_000_000_000;
    /// Queries, replicated or not.
    pub const QUERY: u64 = 5_000_000_000;
    /// A composite query and everything it calls, together.
    pub const QUERY_TREE: u64 = 20_000_000_000;
    /// All steps of one `install_code` together.
    pub const INSTALL: u64 = 300_000_000_000;
    /// What a canister may use for installations in a round. What goes beyond keeps it from installing in later ones.
    pub const INSTALL_PER_ROUND: u64 = 2_000_000_000;
    /// `inspect_message`
    pub const INSPECT: u64 = 200_000_000;
    /// Any message on a benchmarking subnet.
    pub const BENCHMARKING: u64 = 99_999_999_999_999;
    /// What one round executes at most.
    pub const ROUND: u64 = 7_000_000_000;
    /// Counted against the round for each message, so that cheap messages can't make it endless.
    pub const MESSAGE_OVERHEAD: u64 = 2_000_000;
}

/// What an executed message costs.
pub fn execution(instructions: u64, dirty_heap_pages: u64) -> u128 {
    let pages = u128::from(DIRTY_PAGE_INSTRUCTIONS) * u128::from(dirty_heap_pages);
    EXECUTION_BASE + u128::from(instructions) + pages
}

/// What a canister pays for receiving an ingress message: per byte of the CBOR envelope that carries it.
pub fn ingress(sender: Principal, receiver: Principal, method: &str, payload_len: usize) -> u128 {
    let principals = [sender, receiver].map(|principal| principal.as_slice().len());
    let content = [principals[0], principals[1], method.len(), payload_len];
    let bytes: usize = content.into_iter().map(|len| len + cbor_header(len)).sum();
    INGRESS_BASE + INGRESS_BYTE * (ENVELOPE_BYTES + bytes) as u128
}

/// Bytes in front of a CBOR string of this length.
fn cbor_header(len: usize) -> usize {
    match len {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 5,
    }
}

/// What the caller pays for sending a request.
pub fn request(method: &str, payload_len: usize) -> u128 {
    CALL_BASE + response(method.len() + payload_len)
}

/// What the caller pays for the bytes of the answer.
pub fn response(payload_len: usize) -> u128 {
    CALL_BYTE * payload_len as u128
}

/// What keeping `bytes` for `duration_ns` costs.
pub fn storage(bytes: u64, duration_ns: u128) -> u128 {
    // Seconds first: the product of all three doesn't fit for long jumps of time.
    let milliseconds = duration_ns / 1_000_000;
    let byte_seconds = u128::from(bytes).saturating_mul(milliseconds) / 1_000;
    byte_seconds.saturating_mul(GIB_SECOND) / (1 << 30)
}

/// The fee of an HTTPS outcall, taken from the cycles attached to it: the same whether all nodes make it or one.
pub fn http_outcall(request_bytes: usize, max_response_bytes: u64) -> u128 {
    let nodes = NODES as u128;
    (3_000_000
        + 60_000 * nodes
        + 400 * request_bytes as u128
        + 800 * u128::from(max_response_bytes))
        * nodes
}
