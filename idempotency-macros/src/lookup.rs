//! `inspect!`, `outcomes!`, `endpoint!` and `import!`: from a function to the constant that describes it.

use crate::description::description_name;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Error, Path, Token,
    parse::{ParseStream, Parser},
    punctuated::Punctuated,
};

/// `CORE; a, b::c`: the first of the functions' methods that the message is for says.
pub(crate) fn inspect(tokens: TokenStream) -> TokenStream {
    match described_all(tokens) {
        Ok((core, descriptions)) => {
            let descriptions = descriptions.iter();
            quote!(#core::attempt::first_inspected(&[#(&#descriptions),*]))
        }
        Err(error) => hinted(
            &error,
            "write the functions that have `#[idempotent]`, as in `inspect!(transfer, approve)`",
        ),
    }
}

/// `CORE; a, b::c`: the constants that describe the functions.
pub(crate) fn outcomes(tokens: TokenStream) -> TokenStream {
    match described_all(tokens) {
        Ok((_, descriptions)) => {
            let descriptions = descriptions.iter();
            quote!(&[#(&#descriptions),*])
        }
        Err(error) => hinted(
            &error,
            "write the functions that have `#[idempotent]`, as in `outcomes!(calls; transfer, approve)`",
        ),
    }
}

/// `CORE; a`: the handle of the function's endpoint.
pub(crate) fn handle(tokens: TokenStream) -> TokenStream {
    match described_one(tokens) {
        Ok((core, description)) => quote!(#core::attempt::Handle::new(&#description)),
        Err(error) => hinted(
            &error,
            "write one function that has `#[idempotent]`, as in `endpoint!(transfer)`",
        ),
    }
}

/// `CORE; a`: the constant that describes the function.
pub(crate) fn attribute(tokens: TokenStream) -> TokenStream {
    match described_one(tokens) {
        Ok((_, description)) => quote!(&#description),
        Err(error) => hinted(
            &error,
            "write a function that has `#[idempotent]`, as in `import!(transfer, calls, 10_000)`",
        ),
    }
}

/// `CORE; FUNCTIONS`: any number of them.
fn described_all(tokens: TokenStream) -> syn::Result<(Path, Punctuated<Path, Token![,]>)> {
    described(tokens, |input| {
        Punctuated::<Path, Token![,]>::parse_terminated(input)
    })
}

/// `CORE; FUNCTION`: the path of the core, and that of the constant that describes the function.
fn described_one(tokens: TokenStream) -> syn::Result<(Path, Path)> {
    let (core, descriptions) = described(tokens, |input| {
        let function = input.parse::<Path>()?;
        Ok(Punctuated::from_iter([function]))
    })?;
    let description = descriptions.into_iter().next();
    description
        .map(|description| (core, description))
        .ok_or_else(|| Error::new(proc_macro2::Span::call_site(), "a function is missing"))
}

/// `CORE; FUNCTIONS`: the path of the core, and those of the constants that describe the functions.
fn described(
    tokens: TokenStream,
    functions: fn(ParseStream<'_>) -> syn::Result<Punctuated<Path, Token![,]>>,
) -> syn::Result<(Path, Punctuated<Path, Token![,]>)> {
    let parse = |input: ParseStream<'_>| {
        let core: Path = input.parse()?;
        input.parse::<Token![;]>()?;
        Ok((core, functions(input)?))
    };
    let (core, mut functions) = parse.parse2(tokens)?;
    for function in &mut functions {
        if let Some(last) = function.segments.last_mut() {
            last.ident = description_name(&last.ident);
        }
    }
    Ok((core, functions))
}

fn hinted(error: &Error, hint: &str) -> TokenStream {
    Error::new(error.span(), format!("{error}; {hint}")).to_compile_error()
}
