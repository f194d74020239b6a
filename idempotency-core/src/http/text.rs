//! Numbers, durations and foreign texts, for people.

use crate::time::Timestamp;
use std::fmt;

/// Names are cut after so many characters.
const MOST_CHARACTERS: usize = 80;

/// A text that nobody may take for HTML: cut if it is long, without characters that control how others are shown.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in cut(self.0).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Left to right, and right to left: they would reach beyond the text.
                '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' => {
                    f.write_str("\u{fffd}")?
                }
                '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => f.write_str("\u{fffd}")?,
                control if control.is_control() => f.write_str("\u{fffd}")?,
                other => write!(f, "{other}")?,
            }
        }
        match self.0.len() > cut(self.0).len() {
            true => f.write_str("…"),
            false => Ok(()),
        }
    }
}

/// The beginning of a text.
pub(super) fn cut(text: &str) -> &str {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// A number in groups of three digits.
pub(super) struct Grouped(pub(super) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.char_indices() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A duration in its two greatest units.
pub(super) struct Lasting(pub(super) u64);

impl Lasting {
    /// From one time to another; nothing if that is the earlier one.
    pub(super) fn between(from: Timestamp, to: Timestamp) -> Self {
        Self(to.as_nanos().saturating_sub(from.as_nanos()))
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        let units = match () {
            () if days > 0 => [(days, "d"), (hours % 24, "h")],
            () if hours > 0 => [(hours, "h"), (minutes % 60, "min")],
            () if minutes > 0 => [(minutes, "min"), (seconds % 60, "s")],
            () => [(seconds, "s"), (0, "")],
        };
        let [(first, unit), (second, of_second)] = units;
        match second {
            0 => write!(f, "{first} {unit}"),
            _ => write!(f, "{first} {unit} {second} {of_second}"),
        }
    }
}

/// How much of a whole something is, in thousandths: a store may hold a little more than its limit.
pub(super) fn permille(part: u64, whole: u64) -> u64 {
    let permille = u128::from(part) * 1_000 / u128::from(whole.max(1));
    u64::try_from(permille).unwrap_or(u64::MAX)
}

/// A share, in per cent. What is not nothing is not shown as nothing, and what is not full not as full.
pub(super) struct Share(pub(super) u64, pub(super) u64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (permille(self.0, self.1), self.0) {
            (0, 0) => write!(f, "0\u{a0}%"),
            (0..10, _) => write!(f, "under 1\u{a0}%"),
            (permille, _) => write!(f, "{}\u{a0}%", permille / 10),
        }
    }
}
