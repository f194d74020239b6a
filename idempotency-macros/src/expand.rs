//! What the attribute emits: the function as it was, its candid signature, and an entry point that is one call.

use crate::{
    attribute::{Errors, Fingerprint, Key, Options, Scope},
    method::{Method, exports},
};
use darling::util::PreservedStrExpr;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{Error, ItemFn, Path, Token, parse::Parser, punctuated::Punctuated};

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
    // `#[update]` above us has run already, and its copy of the signature carries our attribute too. The error is
    // reported once, on the function itself.
    if function
        .sig
        .ident
        .to_string()
        .starts_with("__candid_method_")
    {
        return item;
    }
    let mut unexported = function.clone();
    unexported.attrs.retain(|attribute| !exports(attribute));
    let expanded =
        Options::parse(options).and_then(|options| expand(&options, Method::parse(function)?));
    expanded.unwrap_or_else(|error| {
        let error = error.to_compile_error();
        quote!(#error #[allow(dead_code)] #unexported)
    })
}

fn expand(options: &Options, mut method: Method) -> Result<TokenStream, Error> {
    check(options, &method)?;
    method.mark_used(&options.expressions());
    let function = &method.function;
    let conditions = method.attributes("cfg");
    let signature = candid_signature(&method);
    let entry = entry(options, &method);
    let inspection = inspection(options, &method);
    Ok(quote! {
        #function

        #inspection

        #(#conditions)*
        const _: () = {
            #signature
            #entry
        };
    })
}

/// What only options and method together show to be wrong.
fn check(options: &Options, method: &Method) -> Result<(), Error> {
    let several = method.types.len() > 1;
    let words = [
        (
            matches!(options.key, Some(Key::Args)) && several,
            "key",
            "args",
        ),
        (matches!(options.scope, Scope::Global), "scope", "global"),
    ];
    for (used, option, word) in words {
        if used && method.has_argument(word) {
            return Err(Error::new(
                method.function.sig.ident.span(),
                format!(
                    "`{option} = {word}` could mean the argument `{word}`: rename the argument, or write `{option} = (*{word})`"
                ),
            ));
        }
    }
    if method.update.decode_with.is_some() && matches!(options.key, Some(Key::Args)) {
        return Err(Error::new(
            method.function.sig.ident.span(),
            "`key = args` needs candid arguments, and `decode_with` decodes something else: list the fields, `key = (arg.a, arg.b)`",
        ));
    }
    if let (Some(path), true) = (&options.on_replay, method.update.encode_with.is_some()) {
        return Err(Error::new_spanned(
            path,
            "`on_replay` reads the first reply as candid, and `encode_with` encodes something else: use one of them",
        ));
    }
    Ok(())
}

/// `#[update]` exports an entry without arguments, so the interface description comes from a function never called.
fn candid_signature(method: &Method) -> TokenStream {
    if method.update.hidden {
        return TokenStream::new();
    }
    let name = method.exported_name();
    let docs = method.attributes("doc");
    let mut signature = method.function.sig.clone();
    signature.ident = format_ident!("__idempotent_signature_{}", signature.ident);
    if method.update.decode_with.is_some() {
        signature.inputs = syn::parse_quote!(argument: ::std::vec::Vec<u8>);
    }
    if method.update.encode_with.is_some() {
        signature.output = syn::parse_quote!(-> ::std::vec::Vec<u8>);
    }
    quote! {
        #(#docs)*
        #[::candid::candid_method(update, rename = #name)]
        #[allow(unused_variables, unused_mut, dead_code, clippy::all, clippy::pedantic)]
        #signature {
            ::std::unreachable!()
        }
    }
}

fn entry(options: &Options, method: &Method) -> TokenStream {
    let core = quote!(::idempotency_core::attempt);
    let function = &method.function.sig.ident;
    let entry = format_ident!("__idempotent_{function}");
    let (update, passed_on) = (&method.update.path, &method.update.passed_on);
    let exported_name = method.exported_name();
    let store = &options.store;
    let endpoint = endpoint_name(method);
    let arguments: Vec<Ident> = (0..method.types.len())
        .map(|index| Ident::new(&format!("argument_{index}"), Span::mixed_site()))
        .collect();
    let (asyncness, call, awaited) = match method.is_async() {
        true => (quote!(async), quote!(call_async), quote!(.await)),
        false => (quote!(), quote!(call), quote!()),
    };
    quote! {
        #[#update(name = #exported_name, manual_reply = true, hidden = true, #(#passed_on),*)]
        #[allow(clippy::all, clippy::pedantic, unused_parens)]
        #asyncness fn #entry() {
            #core::#call(&#store, &#endpoint, |(#(#arguments,)*)| #function(#(#arguments),*)) #awaited
        }
    }
}

fn endpoint_name(method: &Method) -> Ident {
    format_ident!("__idempotent_endpoint_{}", method.function.sig.ident)
}

/// What the entry point and `inspect!` both go by, where both find it.
fn inspection(options: &Options, method: &Method) -> TokenStream {
    let core = quote!(::idempotency_core::attempt);
    let conditions = method.attributes("cfg");
    let (name, inspect) = (
        endpoint_name(method),
        inspect_name(&method.function.sig.ident),
    );
    let visibility = &method.function.vis;
    let (types, reply) = (&method.types, method.return_type());
    let endpoint = endpoint(options, method, &core);
    let (store, exported_name) = (&options.store, method.exported_name());
    quote! {
        #(#conditions)*
        #[doc(hidden)]
        #[allow(clippy::all, clippy::pedantic, non_upper_case_globals, unused_parens)]
        const #name: #core::Endpoint<(#(#types,)*), #reply> = #endpoint;

        #(#conditions)*
        #[doc(hidden)]
        #[allow(dead_code)]
        #visibility fn #inspect(method: &str) -> #core::Inspected {
            #core::inspect(&#store, &#name, #exported_name == method)
        }
    }
}

fn inspect_name(function: &Ident) -> Ident {
    format_ident!("__idempotent_inspect_{function}")
}

/// `inspect!(a, b::c)`: the first of the functions' methods that the message is for says.
pub(crate) fn inspect(functions: TokenStream) -> TokenStream {
    let parser = Punctuated::<Path, Token![,]>::parse_terminated;
    let mut functions = match parser.parse2(functions) {
        Ok(functions) => functions,
        Err(error) => return error.to_compile_error(),
    };
    for function in &mut functions {
        if let Some(last) = function.segments.last_mut() {
            last.ident = inspect_name(&last.ident);
        }
    }
    let functions = functions.iter();
    quote! {
        ::idempotency_core::attempt::first_inspected(&[#(#functions),*])
    }
}

fn endpoint(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
    let (types, reply) = (&method.types, method.return_type());
    let name = options
        .name
        .clone()
        .unwrap_or_else(|| method.exported_name());
    let exported_name = method.exported_name();
    let (required, anonymous) = (
        options.required.is_present(),
        options.anonymous.is_present(),
    );
    let errors = match options.errors {
        Some(Errors::Keep) => quote!(Keep),
        Some(Errors::Forget) => quote!(Forget),
        None if method.is_async() => quote!(Keep),
        None => quote!(Forget),
    };
    let cycles = or(&options.cycles, quote!(0));
    let describe = describe(options, method, core);
    let compare = compare(options, method, core);
    let decode = match &method.update.decode_with {
        None => quote!(#core::decode),
        Some(path) if types.len() == 1 => {
            quote!(|bytes| ::core::result::Result::Ok((#path(bytes.to_vec()),)))
        }
        Some(path) => quote!(|bytes| ::core::result::Result::Ok(#path(bytes.to_vec()))),
    };
    let encode = match (&method.update.encode_with, method.reply_values()) {
        (Some(path), 0) => quote!(|()| ::core::result::Result::Ok(#path())),
        (Some(path), _) => quote!(|reply| ::core::result::Result::Ok(#path(reply))),
        (None, 0 | 1) => quote!(#core::encode_one),
        (None, _) => quote!(#core::encode_all),
    };
    let on_replay = match (&options.on_replay, method.reply_values()) {
        (None, _) => quote!(::core::option::Option::None),
        (Some(path), 0 | 1) => {
            quote!(::core::option::Option::Some(|bytes| #core::map_one::<#reply>(bytes, #path)))
        }
        (Some(path), _) => {
            quote!(::core::option::Option::Some(|bytes| #core::map_all::<#reply>(bytes, #path)))
        }
    };
    quote! {
        #core::Endpoint::<(#(#types,)*), #reply> {
            name: #name,
            method: #exported_name,
            required: #required,
            anonymous: #anonymous,
            errors: #core::Errors::#errors,
            decode: #decode,
            describe: #describe,
            compare: #compare,
            encode: #encode,
            is_error: |reply| {
                use #core::PlainReply as _;
                (&#core::ReplyType::<#reply>::NEW).is_error(reply)
            },
            refuse: |error| {
                use #core::PlainReply as _;
                (&#core::ReplyType::<#reply>::NEW).refuse(error)
            },
            on_replay: #on_replay,
            cycles: #cycles,
        }
    }
}

fn describe(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
    let patterns = &method.patterns;
    let id = match &options.key {
        Some(Key::Args) => {
            quote!(::core::option::Option::Some(#core::RequestId::Arguments))
        }
        Some(Key::Expression(key)) => quote!(#core::RequestId::of_key(&(#key))),
        None => {
            let sequence = &options.sequence;
            let lane = match &options.lane {
                Some(lane) => quote!(#core::LaneKey::of(&(#lane))),
                None => quote!(<#core::LaneKey as ::core::default::Default>::default()),
            };
            let window = or(&options.window, quote!(1));
            let acked = or(&options.acked, quote!(::core::option::Option::None::<u64>));
            quote! {
                #core::RequestId::of_number(
                    #sequence,
                    #lane,
                    const {
                        let window: u16 = #window;
                        ::core::assert!(
                            window >= 1 && window <= 1_024,
                            "`window` is the numbers that may be under way at a time: 1 (strict) to 1,024",
                        );
                        window
                    },
                    #acked,
                )
            }
        }
    };
    let created_at = match &options.created_at {
        None => quote!(::core::option::Option::None),
        Some(created_at) => quote!(#core::CreatedAt::timestamp(#created_at)),
    };
    let scope = match &options.scope {
        Scope::Caller => quote!(#core::Scope::Caller),
        Scope::Global => quote!(#core::Scope::Global),
        Scope::Expression(scope) => quote!(#core::Scope::of(&(#scope))),
    };
    quote! {
        |arguments| {
            #[allow(unused_variables)]
            let (#(#patterns,)*) = arguments;
            #core::Description { id: #id, created_at: #created_at, scope: #scope }
        }
    }
}

/// An option's expression, or what stands for it.
fn or(option: &Option<PreservedStrExpr>, default: TokenStream) -> TokenStream {
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
        Fingerprint::Expression(value) => quote! {
            #core::Compare::Expression(|arguments| {
                #[allow(unused_variables)]
                let (#(#patterns,)*) = arguments;
                #core::Compared::chosen(&(#value))
            })
        },
    }
}
