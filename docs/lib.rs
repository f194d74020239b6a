//! The pages of the book as doctests: each of their Rust blocks must compile. `tests/tables.rs` checks what their tables name.

#![forbid(unsafe_code)]

/// One module for each page with examples.
#[cfg(doctest)]
macro_rules! pages {
    ($($page:ident: $file:literal)*) => {$(
        #[doc = include_str!(concat!("src/", $file))]
        mod $page {}
    )*};
}

#[cfg(doctest)]
pages! {
    adopting: "adopting.md"
    archives: "archives.md"
    asynchronous: "async.md"
    certified_outcomes: "certified-outcomes.md"
    choosing_a_key: "choosing-a-key.md"
    clients: "clients.md"
    errors: "errors.md"
    getting_started: "getting-started.md"
    observability: "observability.md"
    outcome: "outcome.md"
    policy: "policy.md"
    safe_calls: "safe-calls.md"
    sequence_numbers: "sequence-numbers.md"
    servers: "servers.md"
    testing: "testing.md"
    upgrades: "upgrades.md"
}
