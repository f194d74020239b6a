//! What a step is called.

use std::{borrow::Cow, fmt};

/// Longest name in bytes: its length is one byte of an entry.
const MAX_NAME_BYTES: usize = 255;

/// What a step is called, in text of 1 to 255 bytes, unique within its request.
///
/// Made from a literal, from a `String`, or in a loop from either and an integer: `("debit", 3)` is the text `debit[3]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepName(Cow<'static, str>);

impl StepName {
    /// Of what the library names itself.
    pub(super) const NONE: Self = Self(Cow::Borrowed(""));

    /// As it is recorded.
    pub(super) fn recorded(name: &[u8]) -> Self {
        let name = String::from_utf8(name.to_vec())
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Self(Cow::Owned(name))
    }

    /// Of what undoes the step of this name.
    pub(super) fn undo(&self) -> Self {
        Self(Cow::Owned(["undo ", &self.0].concat()))
    }

    /// Of the end of the message that the step of this name sends.
    #[cfg(feature = "outbox")]
    pub(super) fn sent(&self) -> Self {
        Self(Cow::Owned(["sent ", &self.0].concat()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether it can be recorded.
    pub(super) fn is_valid(&self) -> bool {
        (1..=MAX_NAME_BYTES).contains(&self.0.len())
    }

    fn numbered(name: &str, is_negative: bool, mut magnitude: u64) -> Self {
        // Loops name each of their steps: `format!` would cost more than the step itself.
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (magnitude % 10) as u8;
            magnitude /= 10;
            if magnitude == 0 {
                break;
            }
        }
        let mut text = String::with_capacity(name.len() + 23);
        text.push_str(name);
        text.push_str(if is_negative { "[-" } else { "[" });
        digits[first..]
            .iter()
            .for_each(|digit| text.push(char::from(*digit)));
        text.push(']');
        Self(Cow::Owned(text))
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&'static str> for StepName {
    fn from(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl From<String> for StepName {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl From<&Self> for StepName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

macro_rules! numbered {
    ($($unsigned:ty, $signed:ty;)*) => {$(
        impl<N: AsRef<str>> From<(N, $unsigned)> for StepName {
            fn from((name, number): (N, $unsigned)) -> Self {
                Self::numbered(name.as_ref(), false, number as u64)
            }
        }

        impl<N: AsRef<str>> From<(N, $signed)> for StepName {
            fn from((name, number): (N, $signed)) -> Self {
                Self::numbered(name.as_ref(), number < 0, number.unsigned_abs() as u64)
            }
        }
    )*};
}

numbered! { u8, i8; u16, i16; u32, i32; u64, i64; usize, isize; }

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: impl Into<StepName>) -> String {
        name.into().to_string()
    }

    #[test]
    fn a_number_is_part_of_the_name() {
        assert_eq!(text("debit"), "debit");
        assert_eq!(text("debit".to_owned()), "debit");
        assert_eq!(text(("debit", 0)), "debit[0]");
        assert_eq!(text(("debit".to_owned(), 10u8)), "debit[10]");
        assert_eq!(text(("debit", u64::MAX)), format!("debit[{}]", u64::MAX));
        assert_eq!(text(("debit", i64::MIN)), format!("debit[{}]", i64::MIN));
        assert_eq!(text(("debit", -1i8)), "debit[-1]");
        assert_eq!(text(("", 7usize)), "[7]");
    }

    #[test]
    fn a_name_fits_into_an_entry() {
        let is_valid = |length: usize| StepName::from("x".repeat(length)).is_valid();
        assert_eq!([0, 1, 255, 256].map(is_valid), [false, true, true, false]);
        assert!(!StepName::NONE.is_valid());
    }
}
