//! Archives of requests that are to be recognised for ever.
#![forbid(unsafe_code)]

pub mod icrc3;
