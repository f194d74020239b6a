//! Reading replies, which may be anybody's, and what one of an unknown type says about its request.

use candid::{
    CandidType, DecoderConfig, Deserialize, IDLArgs,
    types::{
        Label,
        value::{IDLValue, VariantValue},
    },
    utils::decode_one_with_config,
};

/// For candid of anybody's: decoding it may cost some milliseconds.
fn frugal() -> DecoderConfig {
    const QUOTA: usize = 10_000_000;
    let mut config = DecoderConfig::new();
    config.set_decoding_quota(QUOTA).set_skipping_quota(QUOTA);
    config
}

/// Decodes candid of anybody's.
pub(crate) fn decode<T: CandidType + for<'de> Deserialize<'de>>(
    bytes: &[u8],
) -> Result<T, candid::Error> {
    decode_one_with_config(bytes, &frugal())
}

/// Whether the reply is an `Err` that holds the library's `InProgress`. Another error that looks like it costs no more than a question.
pub(crate) fn is_in_progress(reply: &[u8]) -> bool {
    let Ok(args) = IDLArgs::from_bytes_with_config(reply, &frugal()) else {
        return false;
    };
    match args.args.as_slice() {
        [IDLValue::Variant(VariantValue(field, _))] => {
            is(&field.id, "Err") && holds_in_progress(&field.val)
        }
        _ => false,
    }
}

/// An error, or one that another wraps.
fn holds_in_progress(value: &IDLValue) -> bool {
    let IDLValue::Variant(VariantValue(field, _)) = value else {
        return false;
    };
    match &field.val {
        IDLValue::Record(fields) if is(&field.id, "InProgress") => {
            matches!(fields.as_slice(), [since] if is(&since.id, "since") && matches!(since.val, IDLValue::Nat64(_)))
        }
        inner => holds_in_progress(inner),
    }
}

fn is(label: &Label, name: &str) -> bool {
    label.get_id() == candid::idl_hash(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::{CandidType, encode_one};
    use idempotency_core::{IdempotencyError, Timestamp};

    #[derive(CandidType)]
    enum PayError {
        #[expect(dead_code, reason = "its type is in each reply")]
        Broke(u64),
        Idempotency(IdempotencyError),
    }

    fn reply(error: IdempotencyError) -> Vec<u8> {
        encode_one(Err::<u64, _>(PayError::Idempotency(error))).unwrap()
    }

    #[test]
    fn what_would_take_for_ever_to_decode_is_refused() {
        let mut bytes = candid::encode_args((7u64, Vec::<()>::new())).unwrap();
        assert_eq!(decode::<u64>(&bytes).unwrap(), 7);
        assert_eq!(bytes.pop(), Some(0));
        // 2^42 of nothing.
        bytes.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
        assert!(decode::<u64>(&bytes).is_err());
    }

    #[test]
    fn only_in_progress_is_one() {
        let since = Timestamp::from_secs(7);
        assert!(is_in_progress(&reply(IdempotencyError::InProgress {
            since
        })));
        let bare = Err::<u64, _>(IdempotencyError::InProgress { since });
        assert!(is_in_progress(&encode_one(bare).unwrap()));
        for error in [
            IdempotencyError::OutcomeUnknown { since },
            IdempotencyError::TooOld,
            IdempotencyError::Full { retry_after: since },
        ] {
            assert!(!is_in_progress(&reply(error)));
        }
        let ok = encode_one(Ok::<u64, IdempotencyError>(7)).unwrap();
        for other in [&ok[..], b"", b"DIDL", b"DIDL\0\0", b"no candid at all"] {
            assert!(!is_in_progress(other), "{other:?}");
        }
        // The method's own reply may speak of others.
        let word = encode_one(IdempotencyError::InProgress { since }).unwrap();
        assert!(!is_in_progress(&word));
    }
}
