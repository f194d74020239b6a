//! Keys that bear the time at which they were made: `created_at = key`.

use super::key::Key;
use crate::time::Timestamp;
use serde_bytes::{ByteArray, ByteBuf};
use ulid::Ulid;
use uuid::{Uuid, Variant};

/// A key that says when it was made: a UUIDv7 (RFC 9562) as text, 16 bytes or the number that these are in network order; or a ULID as
/// text. Both begin with the milliseconds since the UNIX epoch, in 48 bits. The 16 bytes of a ULID are no such key: nothing in them
/// says what they are.
#[diagnostic::on_unimplemented(
    message = "`created_at = key` reads the time out of the key, and a `{Self}` has none",
    note = "the key must be a UUIDv7, as text, 16 bytes or a `u128`, or a ULID, as text; or name the time, as in `created_at = Timestamp::from_nanos(arg.created_at)`"
)]
pub trait TimedKey: Key {
    /// When the key was made.
    ///
    /// # Errors
    /// [`Untimed`]
    fn made_at(&self) -> Result<Timestamp, Untimed>;
}

/// Why a key has no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untimed {
    /// It is `None`.
    Absent,
    /// It is neither a UUIDv7 nor a ULID.
    Other,
}

impl TimedKey for str {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        match Ulid::from_string(self) {
            Ok(ulid) => Ok(Timestamp::from_millis(ulid.timestamp_ms())),
            Err(_) => of_uuid(Uuid::try_parse(self).ok()),
        }
    }
}

impl TimedKey for String {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        self.as_str().made_at()
    }
}

impl TimedKey for [u8] {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        of_uuid(Uuid::from_slice(self).ok())
    }
}

impl TimedKey for Vec<u8> {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        self.as_slice().made_at()
    }
}

impl TimedKey for ByteBuf {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        self.as_slice().made_at()
    }
}

impl TimedKey for [u8; 16] {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        self.as_slice().made_at()
    }
}

impl TimedKey for ByteArray<16> {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        self.as_slice().made_at()
    }
}

impl TimedKey for u128 {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        of_uuid(Some(Uuid::from_u128(*self)))
    }
}

impl<K: TimedKey + ?Sized> TimedKey for &K {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        (**self).made_at()
    }
}

impl<K: TimedKey> TimedKey for Option<K> {
    fn made_at(&self) -> Result<Timestamp, Untimed> {
        match self {
            Some(key) => key.made_at(),
            None => Err(Untimed::Absent),
        }
    }
}

fn of_uuid(uuid: Option<Uuid>) -> Result<Timestamp, Untimed> {
    let is_timed =
        |uuid: &Uuid| uuid.get_version_num() == 7 && uuid.get_variant() == Variant::RFC4122;
    let uuid = uuid.filter(is_timed).ok_or(Untimed::Other)?;
    Ok(Timestamp::from_millis((uuid.as_u128() >> 80) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC.
    const UUID: &str = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    const MADE_AT: Timestamp = Timestamp::from_millis(1_645_557_742_000);

    #[test]
    fn a_uuid_says_when_it_was_made_however_it_is_sent() {
        let uuid = Uuid::try_parse(UUID).expect("it is one");
        let bytes = *uuid.as_bytes();
        let said = [
            UUID.made_at(),
            UUID.to_uppercase().made_at(),
            bytes.made_at(),
            bytes.to_vec().made_at(),
            ByteBuf::from(bytes).made_at(),
            ByteArray::new(bytes).made_at(),
            uuid.as_u128().made_at(),
            Some(&UUID).made_at(),
        ];
        assert_eq!(said, [Ok(MADE_AT); 8]);
    }

    /// The example of the ULID specification.
    #[test]
    fn a_ulid_says_it_too() {
        let made_at = Ok(Timestamp::from_millis(1_469_922_850_259));
        assert_eq!("01ARZ3NDEKTSV4RRFFQ69G5FAV".made_at(), made_at);
        assert_eq!("01arz3ndektsv4rrffq69g5fav".made_at(), made_at);
    }

    #[test]
    fn what_has_no_time_says_so() {
        let others = [
            "",
            "order 7",
            // Version 4, and version 7 of another variant.
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "017f22e2-79b0-7cc3-18c4-dc0c0c07398f",
            // Longer, shorter, and with a letter that has no place there.
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
            "01ARZ3NDEKTSV4RRFFQ69G5FA",
            "01ARZ3NDEKTSV4RRFFQ69G5FAU",
        ];
        for other in others {
            assert_eq!(other.made_at(), Err(Untimed::Other), "{other}");
        }
        assert_eq!(vec![7u8; 15].made_at(), Err(Untimed::Other));
        assert_eq!([0u8; 16].made_at(), Err(Untimed::Other));
        assert_eq!(u128::MAX.made_at(), Err(Untimed::Other));
        assert_eq!(None::<&str>.made_at(), Err(Untimed::Absent));
        assert_eq!(Some(None::<u128>).made_at(), Err(Untimed::Absent));
    }
}
