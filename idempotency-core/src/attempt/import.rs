//! `import!`: the calls of a method that were executed before it had its attribute. The attribute says what names them and what
//! they are compared by, so nothing of that is said again.

use super::{
    attribute::Attribute,
    handle::{Keyed, KeyedByArguments},
    request::{Identified, identify},
};
use crate::{
    admission::Request,
    error::IdempotencyError,
    identity::{Argument, Compared, Identity, LazyFingerprint},
    import::{Arguments, Executed, ImportError, ImportProblem, Imported, Past, Taken},
    runtime::{Canister, Runtime},
    time::Timestamp,
};
use candid::utils::{ArgumentEncoder, encode_args_ref};

/// Gives the store requests that the canister remembers by itself: `import!(transfer, calls, most)`, with a function that has
/// [`#[idempotent]`](crate::idempotent), an iterator of [`Executed`] calls of it, and the greatest number of them that this message
/// may take. The result is [`Imported`], or an [`ImportError`].
///
/// A retry of a call that was imported is answered as if the method had executed the call at `executed_at`. The module
/// [`import`](mod@crate::import) says what happens to each call.
///
/// - *Some in each message.* A call takes about 60,000 instructions, so 100,000 of them fit well into a message. The next import
///   takes the calls after those that were [`taken`](crate::import::Imported::taken), until one says that it
///   [`is_complete`](crate::import::Imported::is_complete).
/// - *To import a call again is safe.* The store knows it, and nothing changes.
/// - *It stops where something is wrong*, and says where and what. What it has imported before stays.
/// - *Begin before the first new request*, in `post_upgrade`, and call [`install`](crate::install) after it. Until the import is
///   complete, the method looks requests up where it did before. The page "Adopting it" of the book shows how.
///
/// Requests with a sequence number can't be imported, as the old code knows nothing of their lanes.
///
/// ```
/// use candid::Principal;
/// use ic_stable_structures::DefaultMemoryImpl;
/// use idempotency_core::{
///     Policy, Store, Timestamp, idempotent, import,
///     import::{Arguments, Executed, Imported},
/// };
///
/// thread_local! {
///     static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
/// }
///
/// #[idempotent(store = STORE, key = id)]
/// #[ic_cdk::update]
/// fn pay(id: u64, amount: u64) -> u64 {
///     amount
/// }
///
/// /// A payment as the canister has kept it in a map of its own.
/// struct Payment { payer: Principal, id: u64, amount: u64, at: u64 }
///
/// fn import_payments(payments: &[Payment]) -> Imported {
///     let calls = payments.iter().map(|payment| Executed {
///         caller: payment.payer,
///         arguments: Arguments::Whole((payment.id, payment.amount)),
///         executed_at: Timestamp::from_nanos(payment.at),
///         reply: payment.amount,
///     });
///     import!(pay, calls, 10_000).unwrap_or_else(|error| ic_cdk::trap(error.to_string()))
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! import {
    ($($function:ident)::+, $calls:expr, $most:expr $(,)?) => {
        $crate::attempt::import_calls(
            $crate::attempt::attribute_of!($crate; $($function)::+),
            $calls,
            $most,
        )
    };
}

/// How requests are told from one another that can be imported.
#[diagnostic::on_unimplemented(
    message = "requests with a sequence number can't be imported",
    label = "clients go on with `next_number`; keep the old check for the requests before"
)]
pub trait HasKeys {}

impl HasKeys for Keyed {}

impl<A> HasKeys for KeyedByArguments<A> {}

/// `import!`
///
/// # Errors
/// [`ImportError`]
pub fn import_calls<A: ArgumentEncoder, R, S, I: HasKeys>(
    attribute: &Attribute<A, R, S, I>,
    calls: impl IntoIterator<Item = Executed<A, R>>,
    most: u64,
) -> Result<Imported, ImportError> {
    import_at(attribute, calls, most, Canister.time())
}

/// As [`import_calls`], at any time.
pub(super) fn import_at<A: ArgumentEncoder, R, S, I: HasKeys>(
    attribute: &Attribute<A, R, S, I>,
    calls: impl IntoIterator<Item = Executed<A, R>>,
    most: u64,
    now: Timestamp,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    let stopped = |imported, identity, problem| ImportError {
        imported,
        identity,
        problem,
    };
    (attribute.store.begin_import(now))
        .map_err(|damaged| stopped(imported, None, damaged.into()))?;
    let mut calls = calls.into_iter();
    while imported.taken() < most {
        let Some(call) = calls.next() else {
            imported.is_complete = true;
            break;
        };
        let taken = take_over(attribute, call, now)
            .map_err(|(identity, problem)| stopped(imported, identity, problem))?;
        imported.count(taken);
    }
    Ok(imported)
}

/// Gives the store one call.
fn take_over<A: ArgumentEncoder, R, S, I>(
    attribute: &Attribute<A, R, S, I>,
    call: Executed<A, R>,
    now: Timestamp,
) -> Result<Taken, (Option<Identity>, ImportProblem)> {
    let endpoint = &attribute.endpoint;
    let (arguments, is_whole) = match call.arguments {
        Arguments::Whole(arguments) => (arguments, true),
        Arguments::InPart(arguments) => (arguments, false),
    };
    let nameless = |problem| (None, problem);
    if is_whole && !endpoint.is_candid {
        return Err(nameless(ImportProblem::ArgumentsNotCandid));
    }
    let bytes = encode_args_ref(&arguments).map_err(|error| nameless(not_encodable(&error)))?;
    let argument = match is_whole {
        true => Argument::of_call(&bytes, endpoint.name, &call.caller),
        false => Argument::new(&bytes),
    };
    let description = (endpoint.describe)(&arguments);
    // The store knows whether it counts what a scope takes.
    let has_quota = true;
    let identified = identify(
        endpoint,
        &description,
        &argument,
        &call.caller,
        (None, has_quota),
    );
    let identified = identified.and_then(|it| it.ok_or(IdempotencyError::MissingKey));
    let Identified {
        identity, scope, ..
    } = identified.map_err(|error| nameless(error.into()))?;
    let created_at = description.created_at;
    let fingerprint = match is_whole {
        true => endpoint.fingerprint(&arguments, &argument, &description),
        false => LazyFingerprint::new(&argument, Compared::Nothing, created_at, &description.scope),
    };
    let answer = endpoint.answer(call.reply);
    let answer =
        answer.map_err(|message| (Some(identity), ImportProblem::NotEncodable { message }))?;
    let past = Past {
        request: Request {
            identity,
            fingerprint: &fingerprint,
            created_at,
            sequence: None,
            scope,
        },
        is_whole,
        executed_at: call.executed_at,
        first: &answer.first,
        kept: answer.kept(),
    };
    let taken = attribute.store.take_over(&past, now);
    taken.map_err(|problem| (Some(identity), problem))
}

fn not_encodable(error: &candid::Error) -> ImportProblem {
    ImportProblem::NotEncodable {
        message: format!("{error:#}"),
    }
}
