//! The constant that describes a method, beside its function.

use crate::{
    attribute::{CreatedAt, Errors, Fingerprint, Key, Options, Scope},
    expression::by_reference,
    method::Method,
};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Expr, ext::IdentExt as _};

/// Where what is emitted comes from: its local names are not the user's.
pub(crate) fn site() -> Span {
    Span::mixed_site()
}

/// The constant that describes the method. `inspect!` and `endpoint!` find it beside the function, and its name is what the
/// compiler says to be missing if the function has no attribute.
pub(crate) fn description_name(function: &Ident) -> Ident {
    format_ident!("__idempotent_attribute_of_{}", function.unraw())
}

pub(crate) fn description(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
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
    let max_in_flight = or(&options.max_in_flight, quote!(1));
    let (id_type, id) = match (&options.key, &options.lane) {
        (Some(Key::Args), _) => (
            quote!(KeyedByArguments<(#(#types,)*)>),
            quote!(KeyedByArguments::NEW),
        ),
        (Some(Key::Expression(_)), _) => (quote!(Keyed), quote!(Keyed)),
        (None, None) => (quote!(Numbered), quote!(Numbered(#max_in_flight))),
        (None, Some(_)) => (
            quote!(NumberedInLanes),
            quote!(NumberedInLanes(#max_in_flight)),
        ),
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

fn endpoint(options: &Options, method: &Method, core: &TokenStream) -> TokenStream {
    let (types, reply) = (&method.types, method.return_type());
    let method_name = method.exported_name();
    let name = options.name.as_ref().unwrap_or(&method_name);
    // Without a key there is nothing to go on with.
    let required = options.required || options.durable;
    let anonymous = options.anonymous;
    let errors = match options.errors {
        Some(Errors::Keep) => quote!(Keep),
        Some(Errors::Forget) => quote!(Forget),
        None if method.is_async() => quote!(Keep),
        None => quote!(Forget),
    };
    let cycles = or(&options.cycles, quote!(0));
    let describe = describe(options, method, core);
    let compare = compare(options, method, core);
    let recognise = match (&options.scope, &options.key) {
        _ if !options.has_alias => quote!(Never),
        // What is shared by whom is in the arguments, or is not the caller's alone.
        (Scope::Global | Scope::Expression(_), _) => quote!(Never),
        (Scope::Caller, Some(Key::Args)) => quote!(ByIdentity),
        (Scope::Caller, _) => quote!(ByAlias),
    };
    let site = site();
    let is_candid = method.update.decode_with.is_none();
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
            let (both, again) = match method.reply_values() {
                0 | 1 => (quote!(both_one), quote!(map_one)),
                _ => (quote!(both_all), quote!(map_all)),
            };
            quote_spanned! {site=>
                {
                    const __IDEMPOTENT_MAP: fn(#reply) -> #reply = #map;
                    ::core::option::Option::Some(#core::OnReplay {
                        both: |__idempotent_reply| #core::#both(__idempotent_reply, __IDEMPOTENT_MAP),
                        again: |__idempotent_bytes| #core::#again(__idempotent_bytes, __IDEMPOTENT_MAP),
                    })
                }
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
                is_candid: #is_candid,
                recognise: #core::Recognise::#recognise,
                decode: #decode,
                describe: #describe,
                compare: #compare,
                encode: #encode,
                is_error: |__idempotent_reply| {
                    // A `Result` has methods of its own, which win. Where a macro of the user's wrote the attribute, the lint says so.
                    #[allow(unused_imports)]
                    use #core::PlainReply as _;
                    (&#core::ReplyType::<#reply>::NEW).is_error(__idempotent_reply)
                },
                refuse: |__idempotent_error| {
                    #[allow(unused_imports)]
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
    let scope = match &options.scope {
        Scope::Caller => quote!(#core::Scope::Caller),
        Scope::Global => quote!(#core::Scope::Global),
        Scope::Expression(scope) => {
            let scope = by_reference(scope);
            quote!(#core::Scope::of(&(#scope)))
        }
    };
    let description = match (&options.created_at, &options.key) {
        (Some(CreatedAt::Key), Some(Key::Expression(key))) => {
            let key = by_reference(key);
            quote!(#core::Description::of_timed_key(&(#key), #scope))
        }
        (created_at, _) => {
            let created_at = match created_at {
                Some(CreatedAt::Expression(created_at)) => {
                    quote!(#core::CreatedAt::timestamp(#created_at))
                }
                Some(CreatedAt::Key) | None => quote!(::core::option::Option::None),
            };
            quote!(#core::Description { id: #id, created_at: #created_at, scope: #scope })
        }
    };
    quote_spanned! {site=>
        |__idempotent_arguments| {
            #[allow(unused_variables)]
            let (#(#patterns,)*) = __idempotent_arguments;
            #description
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
