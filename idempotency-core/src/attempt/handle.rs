//! `endpoint!`: an endpoint as its own canister asks about it.
//!
//! The type of a handle says what has yet to be said before it leads to a lane or a request: whose scope, which lane. So a name, a
//! scope or a lane can't be given where the attribute has another rule.

#[cfg(feature = "archive")]
use super::watch::watch;
use super::{answer::replayed, attribute::Attribute, endpoint::MaxInFlight, outcomes::for_retries};
use crate::{
    access::AnyStore,
    codec::Encoded,
    error::IdempotencyError,
    identity::{Argument, Identity, Key, LaneKey, RequestKey, Scope},
    outcome::Outcome,
    runtime::{Canister, Runtime as _},
    sequence::{FreedLane, Sequence},
    store::{Resolved, Settlement},
    time::Timestamp,
};
use candid::{Principal, utils::ArgumentEncoder};
use std::marker::PhantomData;

/// Leads to an endpoint's lanes and requests: `endpoint!(order)`, with a function that has [`#[idempotent]`](crate::idempotent).
///
/// Name, scope and lane are as the attribute says, and what it leaves open is said here:
///
/// | the attribute says | write |
/// |---|---|
/// | nothing of a scope, or `scope = caller` | `endpoint!(order).of(caller)` |
/// | `scope = EXPR` | `endpoint!(order).of(&value)`, with what the expression gives |
/// | `scope = global` | `endpoint!(order)` |
/// | `lane = EXPR`, too | `.lane(&value)` after that |
///
/// What it leads to is described at [`Handle`].
///
/// ```
/// use candid::Principal;
/// use ic_stable_structures::DefaultMemoryImpl;
/// use idempotency_core::{
///     IdempotencyError, Policy, Store, endpoint, idempotent, outcome::Outcome, sequence::FreedLane,
/// };
///
/// thread_local! {
///     static ORDERS: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
/// }
///
/// #[idempotent(store = ORDERS, sequence = number)]
/// #[ic_cdk::update]
/// fn order(number: u64, item: String) {}
///
/// /// The number of the caller's next order, for a client that has lost count.
/// #[ic_cdk::query]
/// fn next_order() -> Result<u64, IdempotencyError> {
///     endpoint!(order).of(ic_cdk::api::msg_caller()).next_number()
/// }
///
/// /// For an operator who has found out whether order `number` of `client` was placed.
/// #[ic_cdk::update(guard = "is_operator")]
/// fn settle_order(client: Principal, number: u64) -> Result<FreedLane, IdempotencyError> {
///     endpoint!(order).of(client).free_lane(number)
/// }
///
/// /// For an operator whom a client asks what became of its order.
/// #[ic_cdk::query(guard = "is_operator")]
/// fn outcome_of_order(client: Principal, number: u64) -> Result<Outcome, IdempotencyError> {
///     endpoint!(order).of(client).outcome(&number, None)
/// }
///
/// fn is_operator() -> Result<(), String> {
///     match ic_cdk::api::is_controller(&ic_cdk::api::msg_caller()) {
///         true => Ok(()),
///         false => Err("only controllers".into()),
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! endpoint {
    ($($function:tt)*) => {
        $crate::attempt::handle_of!($crate; $($function)*)
    };
}

/// What [`endpoint!`](crate::endpoint) gives. `S` is what it knows of the scope, `I` how requests are told from one another.
#[allow(missing_debug_implementations)] // it holds a store of any memory
#[derive(Clone)]
pub struct Handle<S, I> {
    name: &'static str,
    /// `on_replay`
    again: Option<fn(&[u8]) -> Encoded>,
    store: &'static dyn AnyStore,
    scope: S,
    id: I,
}

impl<S: Copy, I: Copy> Handle<S, I> {
    /// `endpoint!`
    pub fn new<A, R>(attribute: &Attribute<A, R, S, I>) -> Self {
        Self {
            name: attribute.endpoint.name,
            again: attribute.endpoint.on_replay.as_ref().map(|it| it.again),
            store: attribute.store,
            scope: attribute.scope,
            id: attribute.id,
        }
    }
}

impl<S, I> Handle<S, I> {
    fn in_scope(self, scope: Scope, caller: Principal) -> Handle<InScope, I> {
        Handle {
            name: self.name,
            again: self.again,
            store: self.store,
            scope: InScope { scope, caller },
            id: self.id,
        }
    }

    /// The number with which the lane goes on, as [`Store::next_number`](crate::Store::next_number) says.
    ///
    /// # Errors
    /// `InvalidKey` if the scope or the lane is empty or too long, or `StoreDamaged`.
    pub fn next_number(&self) -> Result<u64, IdempotencyError>
    where
        S: KnownScope,
        I: KnownLane,
    {
        Ok(self.store.next_number(&self.lane_identity()?)?)
    }

    /// Frees a strict lane that waits for `number` because its outcome is unknown, as
    /// [`Store::free_lane`](crate::Store::free_lane) does: for an operator who has found out what the number did.
    ///
    /// # Errors
    /// `InvalidKey` if the scope or the lane is empty or too long, or `StoreDamaged`.
    pub fn free_lane(&self, number: u64) -> Result<FreedLane, IdempotencyError>
    where
        S: KnownScope,
        I: KnownLane,
    {
        Ok(self.store.free_lane(&self.lane_identity()?, number)?)
    }

    /// Until when, that instant included, a request is certain to be remembered; `None` if it is not known. The request is the
    /// number in the lane; or the key; or with `key = args` the tuple of all arguments.
    ///
    /// # Errors
    /// `MissingKey` if the key is `None`; `InvalidKey` if the key, the scope or the lane is empty or too long; or `StoreDamaged`.
    pub fn guaranteed_until<Q: ?Sized>(
        &self,
        request: &Q,
    ) -> Result<Option<Timestamp>, IdempotencyError>
    where
        S: KnownScope,
        I: Identifies<Q>,
    {
        let (identity, sequence) = self.identify(request)?;
        Ok(self.store.guaranteed_until((&identity, sequence))?)
    }

    /// What became of a request, for whoever may ask in the name of its scope: an operator, say. Clients ask by what they sent, with
    /// [`outcomes!`](crate::outcomes).
    ///
    /// The request is as for [`guaranteed_until`](Self::guaranteed_until). `created_at` is what its argument says, if the method has the
    /// option; without it nothing is known to be too old. A reply is what a retry gets. Costs a look-up or two; of a durable
    /// request that has not ended the journal is read, too.
    ///
    /// # Errors
    /// As [`guaranteed_until`](Self::guaranteed_until). With archives, [`Other`](IdempotencyError::Other) with code 10 if one may hold the
    /// request, which is not asked.
    pub fn outcome<Q: ?Sized>(
        &self,
        request: &Q,
        created_at: Option<Timestamp>,
    ) -> Result<Outcome, IdempotencyError>
    where
        S: KnownScope,
        I: Identifies<Q>,
    {
        self.outcome_at(request, created_at, Canister.time())
    }

    /// As [`outcome`](Self::outcome), and asks archives: in an update, or in a composite query.
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome). [`Other`](IdempotencyError::Other) with code 8 if an archive that may hold the request can't be
    /// asked, and 9 if the archives were not opened in this heap.
    #[cfg(feature = "archive")]
    pub async fn outcome_ever<Q: ?Sized>(
        &self,
        request: &Q,
        created_at: Option<Timestamp>,
    ) -> Result<Outcome, IdempotencyError>
    where
        S: KnownScope,
        I: Identifies<Q>,
    {
        let request = self.identify(request)?;
        let now = || Canister.time();
        let outcome = self.store.outcome_ever(request, created_at, &now);
        let (outcome, known) = watch(Canister, outcome).await.0?;
        for_retries(outcome, known, |reply| {
            replayed(self.name, self.again, reply)
        })
    }

    /// As [`outcome`](Self::outcome), at any time.
    pub(super) fn outcome_at<Q: ?Sized>(
        &self,
        request: &Q,
        created_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Outcome, IdempotencyError>
    where
        S: KnownScope,
        I: Identifies<Q>,
    {
        let (identity, sequence) = self.identify(request)?;
        let (outcome, known) = (self.store).outcome((&identity, sequence), created_at, now)?;
        for_retries(outcome, known, |reply| {
            replayed(self.name, self.again, reply)
        })
    }

    /// Settles a request whose outcome is unknown, as [`Store::resolve`](crate::Store::resolve) does: for an operator who has found out
    /// what it did.
    ///
    /// # Errors
    /// As [`guaranteed_until`](Self::guaranteed_until) and [`Store::resolve`](crate::Store::resolve).
    pub fn resolve<Q: ?Sized>(
        &self,
        request: &Q,
        settlement: &Settlement,
    ) -> Result<Resolved, IdempotencyError>
    where
        S: KnownScope,
        I: Identifies<Q>,
    {
        let (identity, _) = self.identify(request)?;
        self.store.resolve(&identity, settlement, Canister.time())
    }

    fn identify<Q: ?Sized>(
        &self,
        request: &Q,
    ) -> Result<(Identity, Option<Sequence>), IdempotencyError>
    where
        S: KnownScope,
        I: Identifies<Q>,
    {
        let InScope { scope, caller } = self.scope.known();
        self.id.identify(self.name, &scope, &caller, request)
    }

    fn lane_identity(&self) -> Result<Identity, IdempotencyError>
    where
        S: KnownScope,
        I: KnownLane,
    {
        let InScope { scope, caller } = self.scope.known();
        Identity::of_lane(self.name, &scope, &caller, &self.id.lane())
    }
}

impl<I> Handle<PerCaller, I> {
    /// The requests of this caller.
    pub fn of(self, caller: Principal) -> Handle<InScope, I> {
        self.in_scope(Scope::Caller, caller)
    }
}

impl<I> Handle<PerValue, I> {
    /// The requests for which `scope = EXPR` gives this value.
    pub fn of(self, value: &(impl Key + ?Sized)) -> Handle<InScope, I> {
        self.in_scope(Scope::of(value), Principal::anonymous())
    }
}

impl<S> Handle<S, NumberedInLanes> {
    /// The lane for which `lane = EXPR` gives this value.
    pub fn lane(self, value: &(impl Key + ?Sized)) -> Handle<S, NumberedInLane> {
        Handle {
            name: self.name,
            again: self.again,
            store: self.store,
            scope: self.scope,
            id: NumberedInLane(LaneKey::of(value), self.id.0),
        }
    }
}

/// `scope = caller`, and it is not said which.
#[derive(Clone, Copy, Debug)]
pub struct PerCaller;

/// `scope = EXPR`, and it is not said of which value.
#[derive(Clone, Copy, Debug)]
pub struct PerValue;

/// `scope = global`
#[derive(Clone, Copy, Debug)]
pub struct Shared;

/// One scope.
#[derive(Clone, Debug)]
pub struct InScope {
    scope: Scope,
    caller: Principal,
}

/// A scope that is known.
#[diagnostic::on_unimplemented(
    message = "it is not said whose requests are meant",
    label = "say it after `endpoint!(…)`: `.of(caller)`, or `.of(&value)` if the attribute has `scope = EXPR`"
)]
pub trait KnownScope {
    /// The scope.
    fn known(&self) -> InScope;
}

impl KnownScope for Shared {
    fn known(&self) -> InScope {
        InScope {
            scope: Scope::Global,
            caller: Principal::anonymous(),
        }
    }
}

impl KnownScope for InScope {
    fn known(&self) -> InScope {
        self.clone()
    }
}

/// `key = EXPR`
#[derive(Clone, Copy, Debug)]
pub struct Keyed;

/// `key = args`
#[derive(Debug)]
pub struct KeyedByArguments<A>(PhantomData<fn(A)>);

impl<A> KeyedByArguments<A> {
    /// There is one value.
    pub const NEW: Self = Self(PhantomData);
}

impl<A> Clone for KeyedByArguments<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for KeyedByArguments<A> {}

/// `sequence`, without `lane`.
#[derive(Clone, Copy, Debug)]
pub struct Numbered(pub MaxInFlight);

/// `sequence` with `lane = EXPR`, and it is not said which lane.
#[derive(Clone, Copy, Debug)]
pub struct NumberedInLanes(pub MaxInFlight);

/// One of an endpoint's lanes.
#[derive(Clone, Debug)]
pub struct NumberedInLane(LaneKey, MaxInFlight);

/// A lane that is known.
#[diagnostic::on_unimplemented(
    message = "it is not said which lane is meant, or there are none",
    label = "with `lane = EXPR` say `.lane(&value)`; an endpoint without `sequence` has no numbers"
)]
pub trait KnownLane {
    /// The lane within its scope.
    fn lane(&self) -> LaneKey;

    /// How many of its numbers may be under way at a time.
    fn max_in_flight(&self) -> MaxInFlight;
}

impl KnownLane for Numbered {
    fn lane(&self) -> LaneKey {
        LaneKey::default()
    }

    fn max_in_flight(&self) -> MaxInFlight {
        self.0
    }
}

impl KnownLane for NumberedInLane {
    fn lane(&self) -> LaneKey {
        self.0.clone()
    }

    fn max_in_flight(&self) -> MaxInFlight {
        self.1
    }
}

/// What tells one request of an endpoint from another.
#[diagnostic::on_unimplemented(
    message = "this endpoint's requests are not identified by a `{Q}`",
    label = "give the key; with `key = args` the tuple of all arguments; with `sequence` the number, a `u64`, after `.lane(&value)` if there is `lane = EXPR`"
)]
pub trait Identifies<Q: ?Sized> {
    /// The identity of a request, and its place in its lane if it has a number.
    fn identify(
        &self,
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
        request: &Q,
    ) -> Result<(Identity, Option<Sequence>), IdempotencyError>;
}

impl<K: Key + ?Sized> Identifies<K> for Keyed {
    fn identify(
        &self,
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
        key: &K,
    ) -> Result<(Identity, Option<Sequence>), IdempotencyError> {
        let key = RequestKey::of(key).ok_or(IdempotencyError::MissingKey)?;
        Ok((Identity::new(endpoint, scope, caller, &key)?, None))
    }
}

impl<A: ArgumentEncoder> Identifies<A> for KeyedByArguments<A> {
    fn identify(
        &self,
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
        arguments: &A,
    ) -> Result<(Identity, Option<Sequence>), IdempotencyError> {
        // What candid can't encode could not be sent either.
        let bytes =
            candid::utils::encode_args_ref(arguments).map_err(|_| IdempotencyError::MissingKey)?;
        let key = RequestKey::of_argument(&Argument::new(&bytes));
        Ok((Identity::new(endpoint, scope, caller, &key)?, None))
    }
}

impl<I: KnownLane> Identifies<u64> for I {
    fn identify(
        &self,
        endpoint: &str,
        scope: &Scope,
        caller: &Principal,
        number: &u64,
    ) -> Result<(Identity, Option<Sequence>), IdempotencyError> {
        let sequence = Sequence {
            lane: Identity::of_lane(endpoint, scope, caller, &self.lane())?,
            number: *number,
            max_in_flight: self.max_in_flight(),
            first_incomplete: None,
            is_shared: !matches!(scope, Scope::Caller),
        };
        let identity = Identity::of_number(&sequence.lane, *number);
        Ok((identity, Some(sequence)))
    }
}
