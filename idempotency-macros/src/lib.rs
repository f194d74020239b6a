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
/// | `key = EXPR` | the request id: any `Key`; `None` runs the call without deduplication. `key = args`: all arguments by value | this or `sequence` |
/// | `sequence = EXPR` | the request's number in its lane, `u64` or `Option` of one: each number runs once, in order | this or `key` |
/// | `lane = EXPR` | which of the scope's counters, a `u64`: lanes don't wait for each other | 0 |
/// | `window = N` | how many numbers may be under way at a time, in any order, up to 1,024 | 1: strict |
/// | `acked = EXPR` | the client has received the replies to all numbers below this one, `u64` or `Option`: they may go | none |
/// | `created_at = EXPR` | the client's `Timestamp`, or an `Option` of one: what is older than the window is refused for ever | none |
/// | `scope = caller \| global \| EXPR` | who shares the key space | `caller` |
/// | `name = "…"` | the endpoint's name in the identity: keep it when you rename the method | the exported name |
/// | `fingerprint = args \| off \| EXPR` | what a retry must have in common with the original | `args` |
/// | `errors = keep \| forget` | whether an `Err` is remembered. In an async method `forget` reaches only an `Err` from before the first await | `forget`, async: `keep` |
/// | `on_replay = PATH` | maps the first reply, `fn(R) -> R`, before it is sent again | the same bytes |
/// | `cycles = N` | cycles that a caller which is a canister pays for each execution, also without a key; a retry's come back | 0 |
/// | `required` | a request without a key is refused | runs |
/// | `anonymous` | lets the anonymous principal send keys, which all who are anonymous share | refused, but for calls without a key |
///
/// What may differ between a request and its retry, as the number in `acked` may, must be left out of the fingerprint: list
/// what counts, `fingerprint = (arg.to, arg.amount)`.
///
/// `key = args` starts new identities when the types of the arguments change: on an endpoint that lives long, list the
/// fields, `key = (arg.to, arg.amount)`.
#[proc_macro_attribute]
pub fn idempotent(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::idempotent(options.into(), item.into()).into()
}

/// Whether a message can succeed, for `canister_inspect_message`: `inspect!(transfer, approve)`, with the functions that
/// have the attribute, is `Ok(())` or the error that the message's method would answer with.
///
/// ```text
/// #[ic_cdk::inspect_message]
/// fn inspect_message() {
///     if inspect!(transfer, approve).is_ok() {
///         ic_cdk::api::accept_message();
///     }
/// }
/// ```
///
/// Refused are a key of the anonymous caller, a missing key that is required, a key that is none, a stale `created_at` or one in the
/// future, and a sequence number that is too old; every retry of a request that is remembered is let through, and so is every
/// other method. One replica alone inspects, before consensus and only for calls from outside: it saves cycles, and protects
/// nothing. Arguments over 16 KiB are not read.
#[proc_macro]
pub fn inspect(functions: TokenStream) -> TokenStream {
    expand::inspect(functions.into()).into()
}
