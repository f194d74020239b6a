//! The `#[idempotent]` attribute of `idempotency-core`, which re-exports and documents it.
#![forbid(unsafe_code)]

mod attribute;
mod expand;
mod method;

use proc_macro::TokenStream;

/// Makes an update method safe to retry: a request that is sent again gets the first answer again.
///
/// Stands **above** `#[update]` and takes its place: the exported method first looks the request up in the store. The
/// function itself stays as it is, and so do its docs, its guards and the exported candid interface. Guards run first.
///
/// ```text
/// #[idempotent(store = PAYMENTS, key = arg.request_id)]
/// #[ic_cdk::update(guard = "only_members")]
/// fn pay(arg: PayArg) -> Result<u64, PayError> { … }
/// ```
///
/// In expressions the arguments go by their names, as references.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `store = PATH` | the thread-local `Store` | required |
/// | `key = EXPR` | the request id: any `Key`; `None` runs the call without deduplication. `key = args`: all arguments by value | required |
/// | `created_at = EXPR` | the client's `Timestamp`, or an `Option` of one: what is older than the window is refused for ever | none |
/// | `scope = caller \| global \| EXPR` | who shares the key space | `caller` |
/// | `name = "…"` | the endpoint's name in the identity: keep it when you rename the method | the exported name |
/// | `fingerprint = args \| off \| EXPR` | what a retry must have in common with the original | `args` |
/// | `errors = keep \| forget` | whether an `Err` is remembered. In an async method `forget` reaches only an `Err` from before the first await | `forget`, async: `keep` |
/// | `on_replay = PATH` | maps the first reply, `fn(R) -> R`, before it is sent again | the same bytes |
/// | `required` | a request without a key is refused | runs |
/// | `anonymous` | lets the anonymous principal in | refused |
///
/// `key = args` starts new identities when the types of the arguments change: on an endpoint that lives long, list the
/// fields, `key = (arg.to, arg.amount)`.
#[proc_macro_attribute]
pub fn idempotent(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::idempotent(options.into(), item.into()).into()
}
