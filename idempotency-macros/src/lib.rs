//! The `#[idempotent]` attribute of `idempotency-core`, which re-exports and documents it.
#![forbid(unsafe_code)]

mod attribute;
mod description;
mod expand;
mod expression;
mod lookup;
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
/// In expressions the arguments go by their names, as references. Fields that stand alone or as parts of a tuple, as in
/// `key = (arg.to, arg.amount)`, are borrowed. What `key`, `sequence`, `first_incomplete`, `created_at` and `fingerprint` say must come
/// from an argument; `scope` and `lane` may also call a function that looks at the caller.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `store = PATH` | the thread-local `Store` | required |
/// | `key = EXPR` | the request id: any `Key`; `None` runs the call without deduplication. `key = args`: all arguments by value | this or `sequence` |
/// | `sequence = EXPR` | the request's number in its lane, `u64` or `Option` of one: each number runs once, in order | this or `key` |
/// | `lane = EXPR` | which of the scope's counters, any `Key`: lanes don't wait for each other | one lane, which is that of `None`, too |
/// | `max_in_flight = N` | how many numbers may be under way at a time, in any order, up to 1,024 | 1: strict |
/// | `first_incomplete = EXPR` | the client has received the replies to all numbers below this one, `u64` or `Option`: they may go | none |
/// | `created_at = EXPR` | the client's `Timestamp`, or an `Option` of one: what is older than the window is refused for ever | none |
/// | `scope = caller \| global \| EXPR` | who shares the key space | `caller` |
/// | `name = "…"` | the endpoint's name in the identity: keep it when you rename the method. Two methods of one store that have one name trap | the exported name |
/// | `fingerprint = args \| off \| EXPR` | what a retry must have in common with the original: all arguments by value, nothing but the key, or any `Key`. Equal arguments are always a retry | `args` |
/// | `errors = keep \| forget` | whether an `Err` is remembered. In an async method `forget` reaches only an `Err` from before the first await | `forget`, async: `keep` |
/// | `on_replay = PATH` | maps the first reply, `fn(R) -> R` or a closure, before it is sent again | the same bytes |
/// | `cycles = N` | cycles that a caller which is a canister pays for each execution, also without a key; a retry's come back | 0 |
/// | `required` | a request without a key is refused | runs |
/// | `anonymous` | lets the anonymous principal send keys, which all who are anonymous share | refused, but for calls without a key |
/// | `crate = PATH` | where `idempotency_core` is, if not under that name | `::idempotency_core` |
///
/// The interface description goes through the `candid` that `idempotency_core` uses: `export_candid!` must be of the same version.
///
/// What may differ between a request and its retry, as the number in `first_incomplete` may, must be left out of the fingerprint: list
/// what counts, `fingerprint = (arg.to, arg.amount)`.
///
/// # When the interface changes
/// Arguments are compared, and with `key = args` named, by their values as candid defines them, whatever the Rust types. These
/// changes make no other request of one that was sent before, nor of its retry by an older or newer client: a field or a last
/// argument more that is optional and left out; a field that becomes optional, or is taken away by clients that sent `null`;
/// a variant's case more; `nat` that becomes `int`; another Rust type for the same candid type.
///
/// These do, so that with `key = args` a retry across the upgrade runs again, and with another key is refused as `KeyReused`: a
/// client that fills in a field which it left out at first, also one that the canister does not know; another name of a field or case; another type (`nat64` for `nat`);
/// elements in another order. A client that encodes an unordered map must bring its entries into one order, or name its requests
/// by a `key`. A `key = (arg.to, arg.amount)` names requests by the fields that it lists alone: on an endpoint that lives long,
/// prefer it.
///
/// What `key = EXPR`, `scope`, `lane` and `fingerprint = EXPR` write is the canister's own choice, and stays the same when `x`
/// becomes optional (`Some(x)` is written as `x` where it stands alone, but not inside a tuple) and when its Rust type is
/// exchanged for another with the same candid type. Another expression is another key, scope or lane; but an argument that is
/// equal as a whole is a retry whatever `fingerprint` says.
#[proc_macro_attribute]
pub fn idempotent(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::idempotent(options.into(), item.into()).into()
}

/// What `idempotency_core::inspect!` passes on: the path of the core, `;`, and the functions.
#[proc_macro]
pub fn inspect_methods(tokens: TokenStream) -> TokenStream {
    lookup::inspect(tokens.into()).into()
}

/// What `idempotency_core::endpoint!` passes on: the path of the core, `;`, and the function.
#[proc_macro]
pub fn handle_of(tokens: TokenStream) -> TokenStream {
    lookup::handle(tokens.into()).into()
}
