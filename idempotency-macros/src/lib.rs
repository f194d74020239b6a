//! The macros of [`idempotency-core`](https://docs.rs/idempotency-core), which re-exports and documents them. Depend on that
//! crate, not on this one.
#![forbid(unsafe_code)]

mod attribute;
mod description;
mod expand;
mod expression;
mod lookup;
mod method;
mod update;

use proc_macro::TokenStream;

/// Makes an update method safe to retry.
///
/// The documentation is that of `idempotency_core::idempotent`, under which name it is used.
#[proc_macro_attribute]
pub fn idempotent(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::idempotent(options.into(), item.into()).into()
}

/// Takes what `idempotency_core::inspect!` passes on: the path of the core, `;`, and the functions.
#[proc_macro]
pub fn inspect_methods(tokens: TokenStream) -> TokenStream {
    lookup::inspect(tokens.into()).into()
}

/// Takes what `idempotency_core::outcomes!` passes on: the path of the core, `;`, and the functions.
#[proc_macro]
pub fn outcomes_of(tokens: TokenStream) -> TokenStream {
    lookup::outcomes(tokens.into()).into()
}

/// What `idempotency_core::endpoint!` passes on: the path of the core, `;`, and the function.
#[proc_macro]
pub fn handle_of(tokens: TokenStream) -> TokenStream {
    lookup::handle(tokens.into()).into()
}

/// What `idempotency_core::import!` passes on: the path of the core, `;`, and the function.
#[proc_macro]
pub fn attribute_of(tokens: TokenStream) -> TokenStream {
    lookup::attribute(tokens.into()).into()
}
