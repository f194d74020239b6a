//! What the attribute's expressions see: every argument, whatever its name and whatever else has names in the user's crate.

use candid::utils::ArgumentEncoder;
use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{
    Policy, Store, Timestamp,
    attempt::{Compare, Endpoint, RequestId, RequestKey},
    idempotent,
    identity::Argument,
};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

/// What identifies a request with these arguments, and what a retry must have in common with it.
fn described<A: ArgumentEncoder, R>(endpoint: &Endpoint<A, R>, args: A) -> [String; 2] {
    let description = (endpoint.describe)(&args);
    let chosen = match endpoint.compare {
        Compare::Expression(chosen) => format!("{:?}", chosen(&args)),
        Compare::Arguments | Compare::Nothing => String::new(),
    };
    let bytes = candid::encode_args(args).unwrap();
    let argument = RequestKey::of_argument(&Argument::new(&bytes));
    let identity = match description.id {
        Some(RequestId::Arguments) => format!("{description:?} {argument:?}"),
        _ => format!("{description:?}"),
    };
    let fingerprint = match endpoint.compare {
        Compare::Arguments => format!("{argument:?}"),
        Compare::Expression(_) | Compare::Nothing => chosen,
    };
    [identity, fingerprint]
}

/// A method with one argument for each of the names.
macro_rules! one_argument {
    ($($name:ident $exported:tt)*) => {
        #[allow(non_snake_case)]
        mod one {
            $(pub(crate) mod $name {
                use crate::STORE;
                use idempotency_core::idempotent;

                #[idempotent(store = STORE, key = ($name), scope = (1u8, $name), fingerprint = ($name))]
                #[ic_cdk::update(name = $exported)]
                pub(crate) fn method($name: u64) -> u64 {
                    $name
                }
            })*
        }

        #[test]
        fn one_argument_of_any_name() {
            $({
                let endpoint = &one::$name::__idempotent_attribute_of_method.endpoint;
                let [one, another] = [7, 8].map(|value| described(endpoint, (value,)));
                assert_ne!(one[0], another[0], stringify!($name));
                assert_ne!(one[1], another[1], stringify!($name));
                assert_eq!(one::$name::method(7), 7);
            })*
        }
    };
}

one_argument! {
    __idempotent_arguments "a" __idempotent_argument_0 "b" __idempotent_bytes "c" __idempotent_reply "d"
    __idempotent_error "e" __idempotent_endpoint "f" __idempotent_method "g" __idempotent_signature_method "h"
    __canister_method_method "i" __IdempotentMethod_method "j" export "k" arguments "l" argument "m" argument_0 "n"
    bytes "o" reply "p" error "q" window "r" method "s" endpoint "t" describe "u" store "v" key "w" sequence "x"
    lane "y" first_incomplete "z" created_at "aa" scope "bb" name "cc" fingerprint "dd" errors "ee" on_replay "ff" cycles "gg"
    required "hh" anonymous "ii" args "jj" caller "kk" global "ll" off "mm" keep "nn" forget "oo" core "pp" std "qq"
    candid "rr" ic_cdk "ss" idempotency_core "tt" idempotent "uu" update "vv" main "ww" r#type "xx" r#fn "yy" arg "zz"
}

mod several {
    #![allow(clippy::too_many_arguments)]

    use super::*;

    type Twelve = (u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);

    /// Twelve sevens, of which one is an eight.
    fn with_eight_at(place: usize) -> Twelve {
        let at = |index| if index == place { 8 } else { 7 };
        (
            at(0),
            at(1),
            at(2),
            at(3),
            at(4),
            at(5),
            at(6),
            at(7),
            at(8),
            at(9),
            at(10),
            at(11),
        )
    }

    /// Each argument counts in the identity (0) or in the fingerprint (1).
    fn counts<R>(endpoint: &Endpoint<Twelve, R>, part: usize) {
        let without = &described(endpoint, with_eight_at(12))[part];
        for place in 0..12 {
            assert_ne!(
                without,
                &described(endpoint, with_eight_at(place))[part],
                "{place}"
            );
        }
    }

    #[idempotent(store = STORE, key = args)]
    #[ic_cdk::update]
    fn all(
        arguments: u64,
        argument_0: u64,
        __idempotent_arguments: u64,
        __idempotent_argument_0: u64,
        __idempotent_argument_1: u64,
        bytes: u64,
        reply: u64,
        error: u64,
        window: u64,
        caller: u64,
        global: u64,
        off: u64,
    ) -> u64 {
        arguments + argument_0 + bytes + reply + error + window + caller + global + off
    }

    #[idempotent(
        store = STORE,
        key = (arguments, argument_0, __idempotent_arguments, __idempotent_argument_0, args, all, keep, forget, store, key, method, off),
        fingerprint = (arguments, argument_0, __idempotent_arguments, __idempotent_argument_0, args, all, keep, forget, store, key, method, off),
    )]
    #[ic_cdk::update]
    fn listed(
        arguments: u64,
        argument_0: u64,
        __idempotent_arguments: u64,
        __idempotent_argument_0: u64,
        args: u64,
        all: u64,
        keep: u64,
        forget: u64,
        store: u64,
        key: u64,
        method: u64,
        off: u64,
    ) -> u64 {
        let _ = (
            arguments, argument_0, args, all, keep, forget, store, key, method, off,
        );
        0
    }

    #[idempotent(
        store = STORE,
        sequence = (arguments),
        lane = argument_0,
        first_incomplete = Some(*bytes),
        max_in_flight = 64,
        created_at = Timestamp::from_nanos(*window),
        scope = (sequence, lane, first_incomplete, caller, global, describe, core, std),
        fingerprint = args,
    )]
    #[ic_cdk::update]
    fn numbered(
        arguments: u64,
        argument_0: u64,
        bytes: u64,
        window: u64,
        sequence: u64,
        lane: u64,
        first_incomplete: u64,
        caller: u64,
        global: u64,
        describe: u64,
        core: u64,
        std: u64,
    ) {
    }

    #[test]
    fn each_of_several_arguments_counts() {
        counts(&__idempotent_attribute_of_all.endpoint, 0);
        counts(&__idempotent_attribute_of_listed.endpoint, 0);
        counts(&__idempotent_attribute_of_listed.endpoint, 1);
        counts(&__idempotent_attribute_of_numbered.endpoint, 0);
        counts(&__idempotent_attribute_of_numbered.endpoint, 1);
    }
}

/// Names that the user's crate gives to things of its own.
mod collisions {
    #![allow(dead_code, non_camel_case_types, non_upper_case_globals, unused_macros)]

    use super::{STORE, described, idempotent};

    mod core {}
    mod std {}
    mod candid {}
    mod idempotency_core {}
    mod attempt {}
    struct str;
    struct u8;
    struct u16;
    struct Vec;
    struct Result;
    struct Option;
    struct Some;
    struct None;
    struct Ok;
    struct Err;
    struct Endpoint;
    struct Description;
    struct RequestId;
    const arguments: () = ();
    const argument_0: () = ();
    const bytes: () = ();
    const reply: () = ();
    const error: () = ();
    static window: () = ();
    static endpoint: () = ();

    macro_rules! unreachable {
        () => {
            compile_error!("the user's own")
        };
    }
    macro_rules! assert {
        () => {
            compile_error!("the user's own")
        };
    }

    #[idempotent(store = STORE, key = r#type, scope = (r#type, r#match), fingerprint = r#match)]
    #[ic_cdk::update]
    fn r#fn(r#type: u64, r#match: String) -> u64 {
        let _ = r#match;
        r#type
    }

    #[idempotent(store = STORE, sequence = r#fn)]
    #[ic_cdk::update]
    async fn r#async(r#fn: u64) -> (u64, u64) {
        (r#fn, r#fn)
    }

    #[test]
    fn names_of_the_users_change_nothing() {
        let endpoint_of_fn = &__idempotent_attribute_of_fn.endpoint;
        let first = described(endpoint_of_fn, (7, "a".to_string()));
        assert_ne!(first[0], described(endpoint_of_fn, (8, "a".to_string()))[0]);
        let other = described(endpoint_of_fn, (7, "b".to_string()));
        assert_ne!(first[0], other[0]);
        assert_ne!(first[1], other[1]);
        assert_eq!(endpoint_of_fn.method, "r#fn", "as ic-cdk names it");
        let endpoint_of_async = &__idempotent_attribute_of_async.endpoint;
        assert_ne!(
            described(endpoint_of_async, (7,)),
            described(endpoint_of_async, (8,))
        );
    }
}

/// Fields that can't be copied, of arguments that are references.
mod fields {
    use super::*;
    use ::candid::{CandidType, Deserialize, Nat};

    #[derive(CandidType, Deserialize, Clone)]
    struct Transfer {
        id: Option<String>,
        to: String,
        amount: Nat,
        memos: Vec<Vec<u8>>,
        fee: u64,
        created_at: Option<Timestamp>,
    }

    fn transfer() -> Transfer {
        Transfer {
            id: Some("id".into()),
            to: "bob".into(),
            amount: Nat::from(5u8),
            memos: vec![vec![1, 2]],
            fee: 3,
            created_at: None,
        }
    }

    #[idempotent(store = STORE, key = (arg.to, arg.amount), scope = (arg.memos[0], arg.fee), fingerprint = arg.id)]
    #[ic_cdk::update]
    fn in_tuples(arg: Transfer) -> u64 {
        arg.fee
    }

    #[idempotent(store = STORE, key = arg.id, scope = arg.to, created_at = arg.created_at, fingerprint = (arg.amount, arg.fee))]
    #[ic_cdk::update]
    fn alone(arg: Transfer) -> u64 {
        arg.fee
    }

    #[idempotent(store = STORE, sequence = number, lane = arg.fee, first_incomplete = first_incomplete, created_at = created_at)]
    #[ic_cdk::update]
    fn references(
        number: u64,
        first_incomplete: Option<u64>,
        created_at: Timestamp,
        arg: Transfer,
    ) -> u64 {
        arg.fee
    }

    #[idempotent(store = STORE, key = (*number, *(text)), created_at = created_at)]
    #[ic_cdk::update]
    fn dereferenced(number: u64, text: String, created_at: Option<Timestamp>) -> u64 {
        number
    }

    #[test]
    fn fields_of_references_count() {
        let changes: [fn(&mut Transfer); 5] = [
            |arg| arg.to = "eve".into(),
            |arg| arg.amount += 1u8,
            |arg| arg.memos = vec![vec![3]],
            |arg| arg.fee = 4,
            |arg| arg.id = None,
        ];
        for (endpoint, part, counting) in [
            (
                &__idempotent_attribute_of_in_tuples.endpoint,
                0,
                [true, true, true, true, false],
            ),
            (
                &__idempotent_attribute_of_in_tuples.endpoint,
                1,
                [false, false, false, false, true],
            ),
            (
                &__idempotent_attribute_of_alone.endpoint,
                0,
                [true, false, false, false, true],
            ),
            (
                &__idempotent_attribute_of_alone.endpoint,
                1,
                [false, true, false, true, false],
            ),
        ] {
            let first = described(endpoint, (transfer(),));
            for (change, counts) in changes.iter().zip(counting) {
                let mut changed = transfer();
                change(&mut changed);
                let changed = described(endpoint, (changed,));
                assert_eq!(first[part] != changed[part], counts);
            }
        }
    }

    #[test]
    fn times_and_numbers_may_be_references() {
        let at = |created_at| {
            (__idempotent_attribute_of_dereferenced.endpoint.describe)(&(1, "a".into(), created_at))
        };
        assert_eq!(at(None).created_at, None);
        assert_eq!(
            at(Some(Timestamp::from_secs(1))).created_at,
            Some(Timestamp::from_secs(1))
        );
        let args = (1, Some(2), Timestamp::from_secs(3), transfer());
        let described = (__idempotent_attribute_of_references.endpoint.describe)(&args);
        assert_eq!(described.created_at, Some(Timestamp::from_secs(3)));
        assert!(described.id.is_some());
    }
}
