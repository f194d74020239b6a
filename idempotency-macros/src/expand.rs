//! What the attribute emits: the function as it was, a constant that describes the method, its candid signature, and an
//! entry point that is one call.
//!
//! # Names
//! User expressions are evaluated inside what is emitted, so nothing there may have a name that they could mean: local names
//! are of `Span::mixed_site()`, which code written elsewhere does not see, and begin with `__idempotent`, lest a constant
//! of the user's takes the place of a pattern. Paths begin with `::` or come from the user.

use crate::{
    attribute::{Errors, Fingerprint, Key, Options, Scope},
    expression::{self, by_reference, occurring},
    method::{Method, exports},
};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Error, Expr, ItemFn, Path, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser},
    punctuated::Punctuated,
};

/// Where what is emitted comes from: its local names are not the user's.
fn site() -> Span {
    Span::mixed_site()
}

/// On an error the function stays, without what would export it, so that nothing but the error is reported.
pub(crate) fn idempotent(options: TokenStream, item: TokenStream) -> TokenStream {
    let function = match syn::parse2::<ItemFn>(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = Error::new(
                error.span(),
                "`#[idempotent]` stands above an `#[update]` function",
            )
            .to_compile_error();
            return quote!(#error #item);
        }
    };
    let mut unexported = function.clone();
    unexported.attrs.retain(|attribute| !exports(attribute));
    // `#[update]` above us has run already, and its copy of the signature carries our attribute too. The error is
    // reported once, on the function itself.
    let is_copy = (function.sig.ident.to_string()).starts_with("__candid_method_");
    if is_copy {
        return unexported.to_token_stream();
    }
    let expanded =
        Options::parse(options).and_then(|options| expand(&options, Method::parse(function)?));
    expanded.unwrap_or_else(|error| {
        let error = error.to_compile_error();
        quote!(#error #[allow(unused)] #unexported)
    })
}

fn expand(options: &Options, mut method: Method) -> Result<TokenStream, Error> {
    check(options, &method)?;
    let arguments = method.arguments();
    let expressions = options.expressions().into_iter();
    let used = expressions
        .flat_map(|(_, value, _)| occurring(value, &arguments))
        .collect();
    method.mark_used(&used);
    let core = &options.core;
    let core = quote!(#core::attempt);
    let description = description(options, &method, &core);
    let export = export(options, &method, &core);
    let function = &method.function;
    Ok(quote!(#function #description #export))
}

/// What only options and method together show to be wrong.
fn check(options: &Options, method: &Method) -> Result<(), Error> {
    let function = &method.function.sig.ident;
    let refuse = |text: String| Err(Error::new(function.span(), text));
    if method.types.is_empty() {
        return refuse(format!(
            "a method without arguments has nothing that tells one request from another: give it one, as in `fn {function}(request_id: String)`, and write `key = request_id`"
        ));
    }
    let arguments = method.arguments();
    for (option, word) in &options.words {
        // All arguments and the only one are the same.
        let is_the_only = *word == "args" && method.types.len() == 1;
        if arguments.contains(*word) && !is_the_only {
            return refuse(format!(
                "`{option} = {word}` could mean the argument `{word}`: rename the argument, or write `{option} = ({word})` if you mean it"
            ));
        }
    }
    for expression in options.expressions() {
        expression::check(expression, &arguments)?;
    }
    if method.update.decode_with.is_some() && matches!(options.key, Some(Key::Args)) {
        return refuse(
            "`key = args` needs candid arguments, and `decode_with` decodes something else: list the fields, `key = (arg.a, arg.b)`".into(),
        );
    }
    if let (Some(path), true) = (&options.on_replay, method.update.encode_with.is_some()) {
        return Err(Error::new_spanned(
            path,
            "`on_replay` reads the first reply as candid, and `encode_with` encodes something else: use one of them",
        ));
    }
    Ok(())
}

/// The constant that describes the method. `inspect!` and `endpoint!` find it beside the function, and its name is what the
/// compiler says to be missing if the function has no attribute.
fn description_name(function: &Ident) -> Ident {
    format_ident!("__idempotent_attribute_of_{}", function.unraw())
}

fn description(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
    let conditions = method.attributes("cfg");
    let name = description_name(&method.function.sig.ident);
    let visibility = &method.function.vis;
    let (types, reply) = (&method.types, method.return_type());
    let endpoint = endpoint(options, method, core);
    let store = &options.store;
    let scope = match &options.scope {
        Scope::Caller => quote!(PerCaller),
        Scope::Global => quote!(Shared),
        Scope::Expression(_) => quote!(PerValue),
    };
    let (id_type, id) = match (&options.key, &options.lane) {
        (Some(Key::Args), _) => (
            quote!(KeyedByArguments<(#(#types,)*)>),
            quote!(KeyedByArguments::NEW),
        ),
        (Some(Key::Expression(_)), _) => (quote!(Keyed), quote!(Keyed)),
        (None, None) => (quote!(Numbered), quote!(Numbered)),
        (None, Some(_)) => (quote!(NumberedInLanes), quote!(NumberedInLanes)),
    };
    quote_spanned! {site()=>
        #(#conditions)*
        #[doc(hidden)]
        #[allow(clippy::all, clippy::pedantic, non_upper_case_globals, private_interfaces, unused_parens)]
        #visibility const #name: #core::Attribute<(#(#types,)*), #reply, #core::#scope, #core::#id_type> = #core::Attribute {
            endpoint: #endpoint,
            store: &#store,
            scope: #core::#scope,
            id: #core::#id,
        };
    }
}

/// What the IC and `candid` see.
///
/// It stands in a trait, because that is what an `impl` must not contain: there the compiler says that it belongs outside,
/// and nothing else. Beside it a function takes the name that ic-cdk gives to an exported function's entry point: a second
/// `#[update]` collides with it, under whatever name it was imported and on whichever side it stands.
fn export(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
    let conditions = method.attributes("cfg");
    let function = &method.function.sig.ident;
    let outside = format_ident!("__IdempotentMethod_{}", function.unraw());
    let taken = format_ident!("__canister_method_{}", function.unraw());
    let signature = candid_signature(method, core);
    let entry = entry(options, method, core);
    quote_spanned! {site()=>
        #(#conditions)*
        #[doc(hidden)]
        #[allow(dead_code)]
        fn #taken() {}

        #(#conditions)*
        #[allow(dead_code, non_camel_case_types)]
        trait #outside {
            fn export() {
                #signature
                #entry
            }
        }
    }
}

/// `#[update]` exports an entry without arguments, so the interface description comes from a function never called.
fn candid_signature(method: &Method, core: &TokenStream) -> TokenStream {
    if method.update.hidden {
        return TokenStream::new();
    }
    let name = method.exported_name();
    let docs = method.attributes("doc");
    let mut signature = method.function.sig.clone();
    signature.ident = format_ident!("__idempotent_signature_{}", signature.ident.unraw());
    if method.update.decode_with.is_some() {
        signature.inputs = syn::parse_quote!(argument: ::std::vec::Vec<::core::primitive::u8>);
    }
    if method.update.encode_with.is_some() {
        signature.output = syn::parse_quote!(-> ::std::vec::Vec<::core::primitive::u8>);
    }
    quote_spanned! {site()=>
        #(#docs)*
        #[#core::candid_method(update, rename = #name)]
        #[allow(unused_variables, unused_mut, dead_code, clippy::all, clippy::pedantic)]
        #signature {
            ::core::unreachable!()
        }
    }
}

fn entry(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
    let function = &method.function.sig.ident;
    let entry = format_ident!("__idempotent_{}", function.unraw());
    let (update, passed_on) = (&method.update.path, &method.update.passed_on);
    let exported_name = method.exported_name();
    let store = &options.store;
    let description = description_name(function);
    let arguments: Vec<Ident> = (0..method.types.len())
        .map(|index| format_ident!("__idempotent_argument_{index}", span = site()))
        .collect();
    let (asyncness, call, awaited) = match method.is_async() {
        true => (quote!(async), quote!(call_async), quote!(.await)),
        false => (quote!(), quote!(call), quote!()),
    };
    quote_spanned! {site()=>
        #[#update(name = #exported_name, manual_reply = true, hidden = true, #(#passed_on),*)]
        #[allow(clippy::all, clippy::pedantic, unused_parens)]
        #asyncness fn #entry() {
            #core::#call(&#store, &#description.endpoint, |(#(#arguments,)*)| #function(#(#arguments),*)) #awaited
        }
    }
}

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

fn endpoint(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
    let (types, reply) = (&method.types, method.return_type());
    let method_name = method.exported_name();
    let name = options.name.as_ref().unwrap_or(&method_name);
    let (required, anonymous) = (options.required, options.anonymous);
    let errors = match options.errors {
        Some(Errors::Keep) => quote!(Keep),
        Some(Errors::Forget) => quote!(Forget),
        None if method.is_async() => quote!(Keep),
        None => quote!(Forget),
    };
    let cycles = or(&options.cycles, quote!(0));
    let describe = describe(options, method, core);
    let compare = compare(options, method, core);
    let site = site();
    let decode = match &method.update.decode_with {
        None => quote!(#core::decode),
        Some(path) => {
            let decoded = quote_spanned!(site=> #path(__idempotent_bytes.to_vec()));
            let decoded = match types.len() {
                1 => quote!((#decoded,)),
                _ => decoded,
            };
            quote_spanned!(site=> |__idempotent_bytes| ::core::result::Result::Ok(#decoded))
        }
    };
    let encode = match (&method.update.encode_with, method.reply_values()) {
        (Some(path), 0) => quote!(|()| ::core::result::Result::Ok(#path())),
        (Some(path), _) => quote_spanned! {site=>
            |__idempotent_reply| ::core::result::Result::Ok(#path(__idempotent_reply))
        },
        (None, 0 | 1) => quote!(#core::encode_one),
        (None, _) => quote!(#core::encode_all),
    };
    let on_replay = match &options.on_replay {
        None => quote!(::core::option::Option::None),
        Some(map) => {
            let all = match method.reply_values() {
                0 | 1 => quote!(map_one),
                _ => quote!(map_all),
            };
            quote_spanned! {site=>
                ::core::option::Option::Some(
                    |__idempotent_bytes| #core::#all::<#reply>(__idempotent_bytes, #map)
                )
            }
        }
    };
    let max_in_flight = (options.max_in_flight.iter()).map(
        |max_in_flight| quote!(const _: #core::MaxInFlight = #core::max_in_flight(#max_in_flight);),
    );
    quote_spanned! {site=>
        {
            // Evaluated whether the method is called or not, so that `cargo check` says it.
            #(#max_in_flight)*
            #core::Endpoint::<(#(#types,)*), #reply> {
                method: #method_name,
                name: #name,
                required: #required,
                anonymous: #anonymous,
                errors: #core::Errors::#errors,
                decode: #decode,
                describe: #describe,
                compare: #compare,
                encode: #encode,
                is_error: |__idempotent_reply| {
                    use #core::PlainReply as _;
                    (&#core::ReplyType::<#reply>::NEW).is_error(__idempotent_reply)
                },
                refuse: |__idempotent_error| {
                    use #core::PlainReply as _;
                    (&#core::ReplyType::<#reply>::NEW).refuse(__idempotent_error)
                },
                on_replay: #on_replay,
                cycles: #cycles,
            }
        }
    }
}

fn describe(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
    let patterns = &method.patterns;
    let site = site();
    let id = match &options.key {
        Some(Key::Args) => {
            quote!(::core::option::Option::Some(#core::RequestId::Arguments))
        }
        Some(Key::Expression(key)) => {
            let key = by_reference(key);
            quote!(#core::RequestId::of_key(&(#key)))
        }
        None => {
            let sequence = &options.sequence;
            let lane = match &options.lane {
                Some(lane) => {
                    let lane = by_reference(lane);
                    quote!(#core::LaneKey::of(&(#lane)))
                }
                None => quote!(<#core::LaneKey as ::core::default::Default>::default()),
            };
            let max_in_flight = or(&options.max_in_flight, quote!(1));
            let first_incomplete = or(
                &options.first_incomplete,
                quote!(::core::option::Option::None::<::core::primitive::u64>),
            );
            quote!(#core::RequestId::of_number(#sequence, #lane, const { #max_in_flight }, #first_incomplete))
        }
    };
    let created_at = match &options.created_at {
        None => quote!(::core::option::Option::None),
        Some(created_at) => quote!(#core::CreatedAt::timestamp(#created_at)),
    };
    let scope = match &options.scope {
        Scope::Caller => quote!(#core::Scope::Caller),
        Scope::Global => quote!(#core::Scope::Global),
        Scope::Expression(scope) => {
            let scope = by_reference(scope);
            quote!(#core::Scope::of(&(#scope)))
        }
    };
    quote_spanned! {site=>
        |__idempotent_arguments| {
            #[allow(unused_variables)]
            let (#(#patterns,)*) = __idempotent_arguments;
            #core::Description { id: #id, created_at: #created_at, scope: #scope }
        }
    }
}

/// An option's expression, or what stands for it.
fn or(option: &Option<Expr>, default: TokenStream) -> TokenStream {
    option.as_ref().map_or(default, ToTokens::to_token_stream)
}

fn compare(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
    let patterns = &method.patterns;
    match &options.fingerprint {
        // Arguments that are not the same are another request then.
        Fingerprint::Args if matches!(options.key, Some(Key::Args)) => {
            quote!(#core::Compare::Nothing)
        }
        Fingerprint::Args => quote!(#core::Compare::Arguments),
        Fingerprint::Off => quote!(#core::Compare::Nothing),
        Fingerprint::Expression(value) => {
            let value = by_reference(value);
            quote_spanned! {site()=>
                #core::Compare::Expression(|__idempotent_arguments| {
                    #[allow(unused_variables)]
                    let (#(#patterns,)*) = __idempotent_arguments;
                    #core::Compared::chosen(&(#value))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `crate = …` the user's crate need not know the core, nor candid, by any other path.
    #[test]
    fn everything_goes_through_the_path_of_the_core() {
        let function = quote! {
            #[update(guard = "only_members")]
            async fn pay(id: u64, at: Timestamp) -> Result<u64, Error> { Ok(id) }
        };
        for options in [
            quote!(key = args, fingerprint = off, errors = keep),
            quote!(
                key = (id, at),
                scope = id,
                fingerprint = at,
                created_at = at,
                on_replay = again,
                required
            ),
            quote!(
                sequence = id,
                lane = id,
                max_in_flight = N,
                first_incomplete = id,
                scope = global,
                cycles = 5,
                anonymous
            ),
        ] {
            let options = quote!(crate = deps::once, store = STORE, #options);
            let emitted = idempotent(options, function.clone()).to_string();
            assert!(
                emitted.contains("deps :: once :: attempt :: Endpoint"),
                "{emitted}"
            );
            for path in [
                "idempotency_core",
                ":: ic_cdk",
                " :: candid ::",
                "compile_error",
            ] {
                assert!(!emitted.contains(path), "{path} in {emitted}");
            }
        }
        let inspected = inspect(quote!(deps::once; pay, other::refund)).to_string();
        assert!(inspected.starts_with("deps :: once :: attempt :: first_inspected"));
        let handle = handle(quote!(deps::once; other::refund)).to_string();
        assert!(handle.starts_with("deps :: once :: attempt :: Handle"));
    }
}
