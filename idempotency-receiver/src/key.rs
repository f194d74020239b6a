//! The key that a client gives.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Item, Parser};

/// How a key may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySyntax {
    /// As the draft says: a string of RFC 8941, `"8e03978e-40d5"`, with its quotes.
    #[default]
    Strict,
    /// Also without quotes, as clients of Stripe and others send it: visible ASCII. A bare `abc` and a quoted `"abc"` are the
    /// same key.
    Lenient,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    Missing,
    Malformed,
    TooLong,
}

/// The key in a request's headers, of 1 to `limit` characters.
pub(crate) fn key(
    headers: &HeaderMap,
    name: &HeaderName,
    syntax: KeySyntax,
    limit: usize,
) -> Result<String, NoKey> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(NoKey::Missing)?.as_bytes();
    // Two keys would leave it to chance which of them counts.
    if values.next().is_some() {
        return Err(NoKey::Malformed);
    }
    // Escapes double a string at most. What follows it are parameters, which no client needs to be long.
    if value.len() > 2 * limit + 128 {
        return Err(NoKey::TooLong);
    }
    let bare = syntax == KeySyntax::Lenient && !value.starts_with(b"\"");
    let key = match bare {
        true => bare_key(value),
        false => string(value),
    }
    .filter(|key| !key.is_empty())
    .ok_or(NoKey::Malformed)?;
    match key.len() > limit {
        true => Err(NoKey::TooLong),
        false => Ok(key),
    }
}

fn string(value: &[u8]) -> Option<String> {
    match Parser::new(value).parse::<Item>().ok()?.bare_item {
        BareItem::String(key) => Some(key.as_str().to_owned()),
        _ => None,
    }
}

fn bare_key(value: &[u8]) -> Option<String> {
    // A comma is where two headers may have been joined.
    let visible = |byte: &u8| byte.is_ascii_graphic() && !b"\",".contains(byte);
    let value = value.trim_ascii();
    let key = value.iter().all(visible).then_some(value)?;
    str::from_utf8(key).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const NAME: HeaderName = HeaderName::from_static("idempotency-key");

    fn parsed(values: &[&str], syntax: KeySyntax) -> Result<String, NoKey> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                NAME,
                HeaderValue::from_bytes(value.as_bytes()).expect("it may stand in a header"),
            );
        }
        key(&headers, &NAME, syntax, 8)
    }

    #[test]
    fn a_key_is_a_structured_string() {
        use KeySyntax::{Lenient, Strict};
        use NoKey::{Malformed, Missing, TooLong};
        let ok = |key: &str| Ok(key.to_owned());
        let long = format!("\"{}\"", "x".repeat(1000));
        for (values, strict, lenient) in [
            (&[][..], Err(Missing), Err(Missing)),
            (&["\"abc\""], ok("abc"), ok("abc")),
            (&[" \"abc\";v=1 "], ok("abc"), Err(Malformed)),
            (&["\"a\\\"b\\\\\""], ok("a\"b\\"), ok("a\"b\\")),
            (&["abc"], Err(Malformed), ok("abc")),
            (&["a-b_c.1"], Err(Malformed), ok("a-b_c.1")),
            (&["12"], Err(Malformed), ok("12")),
            (&[""], Err(Malformed), Err(Malformed)),
            (&["\"\""], Err(Malformed), Err(Malformed)),
            (&["\"abc"], Err(Malformed), Err(Malformed)),
            (&["\"a\\b\""], Err(Malformed), Err(Malformed)),
            (&["\"ä\""], Err(Malformed), Err(Malformed)),
            (&["ä"], Err(Malformed), Err(Malformed)),
            (&["a b"], Err(Malformed), Err(Malformed)),
            (&["a,b"], Err(Malformed), Err(Malformed)),
            (&["\"a\", \"b\""], Err(Malformed), Err(Malformed)),
            (&["\"a\"", "\"a\""], Err(Malformed), Err(Malformed)),
            (&["\"12345678\""], ok("12345678"), ok("12345678")),
            (&["\"123456789\""], Err(TooLong), Err(TooLong)),
            (&["123456789"], Err(Malformed), Err(TooLong)),
            (&[&long], Err(TooLong), Err(TooLong)),
        ] {
            assert_eq!(parsed(values, Strict), strict, "{values:?}");
            let spaced = values.first().is_some_and(|value| value.starts_with(' '));
            if !spaced {
                assert_eq!(parsed(values, Lenient), lenient, "{values:?}");
            }
        }
    }
}
