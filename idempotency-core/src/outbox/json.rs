//! What a JSON pointer leads to, as text on which replicas agree.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// How deep what is extracted may be nested: each level is read once more.
const MAX_DEPTH: usize = 32;

/// The value in `body` to which the pointer leads, or `None` if there is none, or if the body is no JSON.
///
/// Without white space, the members of objects sorted by their names, texts escaped in one way. Numbers stay as they were written:
/// read as floating point, one of 20 digits would be another number. Of members with one name the last one counts.
pub(super) fn extract(body: &[u8], pointer: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let tokens = pointer.strip_prefix('/').map(|rest| rest.split('/'));
    let tokens: Vec<Cow<str>> = tokens.into_iter().flatten().map(unescape).collect();
    let found = Walk(&tokens).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    let mut extract = Vec::new();
    put(found?, MAX_DEPTH, &mut extract)?;
    Some(extract)
}

fn unescape(token: &str) -> Cow<'_, str> {
    match token.contains('~') {
        true => token.replace("~1", "/").replace("~0", "~").into(),
        false => token.into(),
    }
}

/// Follows the tokens in one pass, and skips all else.
struct Walk<'t>(&'t [Cow<'t, str>]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            [] => serde::Deserialize::deserialize(reader).map(Some),
            _ => reader.deserialize_any(self),
        }
    }
}

/// What is neither an object nor an array has nothing below it.
impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<Name>()? {
            match self.0 {
                [token, below @ ..] if *token == name.0 => {
                    found = members.next_value_seed(Walk(below))?;
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let (wanted, below) = match self.0 {
            [token, below @ ..] => (index(token), below),
            [] => (None, &[][..]),
        };
        let mut found = None;
        for at in 0usize.. {
            if Some(at) == wanted {
                match elements.next_element_seed(Walk(below))? {
                    Some(value) => found = value,
                    None => break,
                }
            } else if elements.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// As RFC 6901 has it: `0`, or digits that do not begin with a zero.
fn index(token: &str) -> Option<usize> {
    let is_index = token == "0"
        || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    token.parse().ok().filter(|_| is_index)
}

/// A name, or any other text, which is borrowed where nothing in it is escaped.
#[derive(serde::Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn put(value: &RawValue, depth: usize, written: &mut Vec<u8>) -> Option<()> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'{' => {
            let depth = depth.checked_sub(1)?;
            let members: BTreeMap<Name, &RawValue> = serde_json::from_str(text).ok()?;
            written.push(b'{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    written.push(b',');
                }
                put_text(&name.0, written)?;
                written.push(b':');
                put(value, depth, written)?;
            }
            written.push(b'}');
        }
        b'[' => {
            let depth = depth.checked_sub(1)?;
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            written.push(b'[');
            for (index, value) in elements.iter().enumerate() {
                if index > 0 {
                    written.push(b',');
                }
                put(value, depth, written)?;
            }
            written.push(b']');
        }
        b'"' => {
            let text: Name = serde_json::from_str(text).ok()?;
            put_text(&text.0, written)?;
        }
        _ => written.extend_from_slice(text.as_bytes()),
    }
    Some(())
}

fn put_text(text: &str, written: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(written, text).ok()
}
