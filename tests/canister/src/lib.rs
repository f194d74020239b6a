//! tests/canister
