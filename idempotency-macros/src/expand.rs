//! What the attribute emits: the function as it was, a constant that describes the method, its candid signature, and an
//! entry point that is one call.
//!
//! # Names
//! User expressions are evaluated inside what is emitted, so nothing there may have a name that they could mean: local names
//! are of `Span::mixed_site()`, which code written elsewhere does not see, and begin with `__idempotent`, lest a constant
//! of the user's takes the place of a pattern. Paths begin with `::` or come from the user.

use crate::{
    attribute::{Errors, Key, Options},
    description::{description, description_name, site},
    expression::{self, occurring},
    method::Method,
    update::exports,
};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Error, ItemFn, ext::IdentExt as _, spanned::Spanned};

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
    let expanded = Options::parse(options).and_then(|options| {
        let method = Method::parse(function, options.durable)?;
        expand(&options, method)
    });
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
        let (keyword, steps) = match options.durable {
            true => ("async fn", "steps: Steps, "),
            false => ("fn", ""),
        };
        return refuse(format!(
            "a method without arguments has nothing that tells one request from another: give it one, as in `{keyword} {function}({steps}request_id: String)`, and write `key = request_id`"
        ));
    }
    if let (Some(on_unknown), false) = (&options.on_unknown, method.is_async()) {
        return Err(Error::new_spanned(
            on_unknown,
            "a sync method is executed as a whole or not at all, so its outcome is never unknown: remove `on_unknown`",
        ));
    }
    if options.durable && options.errors == Some(Errors::Forget) {
        return refuse(
            "the `Err` of a durable method may come after its steps, so it is always kept: remove `errors = forget`".into(),
        );
    }
    let arguments = method.arguments();
    for (option, word) in &options.words {
        // All arguments and the only one are the same.
        let is_the_only = *word == "args" && method.types.len() == 1;
        // The time of the key, and of the argument that is the key, too.
        let is_the_key = *option == "created_at" && options.key_is(word);
        if arguments.contains(*word) && !is_the_only && !is_the_key {
            return refuse(format!(
                "`{option} = {word}` could mean the argument `{word}`: rename the argument, or write `{option} = ({word})` if you mean it"
            ));
        }
    }
    let steps = method.names_of_steps();
    for expression in options.expressions() {
        expression::check_steps(expression, &steps)?;
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
    let mut signature = method.client_signature();
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
    // A constant of its own: with a reference into the description its store would stay in the module, and all that can be asked of it.
    let endpoint = quote!(&const { #description.endpoint });
    let arguments: Vec<Ident> = (0..method.types.len())
        .map(|index| format_ident!("__idempotent_argument_{index}", span = site()))
        .collect();
    let on_unknown = on_unknown(options, method, &arguments, core);
    let run = quote_spanned!(site()=> |(#(#arguments,)*)| #function(#(#arguments),*));
    let method_entry = |asyncness: TokenStream, call: TokenStream| {
        quote_spanned! {site()=>
            #[#update(name = #exported_name, manual_reply = true, hidden = true, #(#passed_on),*)]
            #[allow(clippy::all, clippy::pedantic, unused_parens)]
            #asyncness fn #entry() {
                #call
            }
        }
    };
    if !method.is_async() {
        let call = quote!(#core::call(&#store, #endpoint, #run));
        return method_entry(quote!(), call);
    }
    if !options.durable {
        let call = quote!(#core::call_async(&#store, #endpoint, #run, #on_unknown).await);
        return method_entry(quote!(async), call);
    }
    let asks = options.on_unknown.is_some();
    let call = quote!(#core::call_durable(&#store, #endpoint, #asks).await);
    let called = method_entry(quote!(async), call);
    let go_on = format_ident!("__idempotent_go_on_{}", function.unraw());
    let name = options.name.as_ref().unwrap_or(&exported_name);
    let go_on_name = format!("<idempotency> {name}");
    // Guards have let the request in; here the canister calls itself.
    let passed_on = passed_on
        .iter()
        .filter(|meta| !meta.path().is_ident("guard"));
    quote_spanned! {site()=>
        #called

        #[#update(name = #go_on_name, manual_reply = true, hidden = true, #(#passed_on),*)]
        #[allow(clippy::all, clippy::pedantic, unused_parens)]
        async fn #go_on() {
            let __idempotent_run =
                |__idempotent_steps, (#(#arguments,)*)| #function(__idempotent_steps, #(#arguments),*);
            #core::go_on(&#store, #endpoint, __idempotent_run, #on_unknown).await
        }
    }
}

/// `on_unknown` as a function of the arguments' tuple. A function around it tells the compiler what its parameters are, which a
/// closure need not say then.
fn on_unknown(
    options: &Options,
    method: &Method,
    arguments: &[Ident],
    core: &TokenStream,
) -> TokenStream {
    let (types, reply) = (&method.types, method.return_type());
    let Some(on_unknown) = &options.on_unknown else {
        return quote!(#core::Nobody);
    };
    // What is wrong with the user's function is said at its place.
    let settles = Ident::new("__idempotent_on_unknown", on_unknown.span());
    quote_spanned! {site()=>
            {
                fn #settles<__IdempotentAnswer: #core::Resolves<#reply>>(
                    __idempotent_resolver: impl ::core::ops::FnOnce(#(#types,)* #core::Unknown) -> __IdempotentAnswer,
                ) -> impl #core::OnUnknown<(#(#types,)*), #reply> {
                    #core::Asks(|(#(#arguments,)*): (#(#types,)*), __idempotent_unknown: #core::Unknown| {
                        __idempotent_resolver(#(#arguments,)* __idempotent_unknown)
                    })
                }
                #settles(#on_unknown)
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::{handle, inspect};

    /// With `crate = …` the user's crate need not know the core, nor candid, by any other path.
    #[test]
    fn everything_goes_through_the_path_of_the_core() {
        let function = quote! {
            #[update(guard = "only_members")]
            async fn pay(id: u64, at: Timestamp) -> Result<u64, Error> { Ok(id) }
        };
        let durable = quote! {
            #[update(guard = "only_members")]
            async fn pay(steps: Steps, id: u64, at: Timestamp) -> Result<u64, Error> { Ok(id) }
        };
        for options in [
            quote!(key = args, fingerprint = off, errors = keep),
            quote!(key = id, on_unknown = look_up),
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
            for (options, function) in [
                (quote!(#options), &function),
                (quote!(#options, durable), &durable),
            ] {
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
        }
        let inspected = inspect(quote!(deps::once; pay, other::refund)).to_string();
        assert!(inspected.starts_with("deps :: once :: attempt :: first_inspected"));
        let handle = handle(quote!(deps::once; other::refund)).to_string();
        assert!(handle.starts_with("deps :: once :: attempt :: Handle"));
    }
    /// Guards let clients in; the canister's calls to itself come when no client does.
    #[test]
    fn what_goes_on_has_no_guard_and_the_name_of_the_endpoint() {
        let function = quote! {
            #[update(name = "new", guard = "only_members")]
            async fn pay(_: Steps, id: u64) {}
        };
        let options = quote!(store = STORE, key = id, durable, name = "old");
        let emitted = idempotent(options, function).to_string();
        assert_eq!(emitted.matches("only_members").count(), 1, "{emitted}");
        assert!(
            emitted.contains("name = \"<idempotency> old\""),
            "{emitted}"
        );
        assert_eq!(emitted.matches("\"new\"").count(), 3, "{emitted}");
    }
}
