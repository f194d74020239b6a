//! `inspect!` and `endpoint!`: from a function to the constant that describes it.

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
    let described = described(tokens, |input| {
        Punctuated::<Path, Token![,]>::parse_terminated(input)
    });
    match described {
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

/// `CORE; a`: the handle of the function's endpoint.
pub(crate) fn handle(tokens: TokenStream) -> TokenStream {
    let described = described(tokens, |input| {
        let function = input.parse::<Path>()?;
        Ok(Punctuated::<Path, Token![,]>::from_iter([function]))
    });
    match described {
        Ok((core, descriptions)) => {
            let description = descriptions.iter();
            quote!(#core::attempt::Handle::new(#(&#description)*))
        }
        Err(error) => hinted(
            &error,
            "write one function that has `#[idempotent]`, as in `endpoint!(transfer)`",
        ),
    }
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
