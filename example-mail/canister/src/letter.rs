//! What can be sent: checked before anything is kept.

use serde_json::json;

/// Of an address, by RFC 5321; of the part before the `@`.
const MAX_ADDRESS: usize = 254;
const MAX_LOCAL: usize = 64;

const MAX_SUBJECT: usize = 250;

/// Escaped as JSON it is at most six times as long, and the gateway takes 1 MiB.
const MAX_BODY: usize = 100_000;

/// A mail that can be one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) to: String,
    pub(crate) subject: String,
    body: String,
}

impl Letter {
    /// What is wrong with it is an error, in words.
    pub(crate) fn new(to: String, subject: String, body: String) -> Result<Self, String> {
        check_address(&to).map_err(|wrong| format!("to: {wrong}"))?;
        if subject.len() > MAX_SUBJECT {
            return Err(format!("subject: it is longer than {MAX_SUBJECT} bytes"));
        }
        if subject.chars().any(char::is_control) {
            return Err("subject: it is more than one line".to_owned());
        }
        if body.len() > MAX_BODY {
            return Err(format!("body: it is longer than {MAX_BODY} bytes"));
        }
        Ok(Self { to, subject, body })
    }

    /// As the gateway takes it.
    pub(crate) fn json(&self) -> String {
        let Self { to, subject, body } = self;
        json!({ "to": to, "subject": subject, "body": body }).to_string()
    }
}

/// Whether it can be one address. Whether it is one only its mail server knows.
fn check_address(address: &str) -> Result<(), &'static str> {
    if address.len() > MAX_ADDRESS {
        return Err("an address has at most 254 bytes");
    }
    let Some((local, domain)) = address.split_once('@') else {
        return Err("an address has an @");
    };
    if local.is_empty() || local.len() > MAX_LOCAL || domain.is_empty() {
        return Err("an address has 1 to 64 bytes before the @, and a domain after it");
    }
    let is_special =
        |it: char| it.is_control() || it.is_whitespace() || "()<>[]:;,\\\"".contains(it);
    if address.contains(is_special) || domain.contains('@') {
        return Err("one address alone, without a name, has no such characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(to: &str, subject: &str, body: &str) -> Result<Letter, String> {
        Letter::new(to.to_owned(), subject.to_owned(), body.to_owned())
    }

    #[test]
    fn what_can_be_an_address_is_taken() {
        let longest = format!("{}@example.org", "a".repeat(MAX_LOCAL));
        for to in ["ann@example.org", "a.b+c@d", "ünn@exämple.org", &longest] {
            assert!(letter(to, "", "").is_ok(), "{to}");
        }
    }

    #[test]
    fn what_is_no_address_or_more_than_one_is_refused() {
        let local = format!("{}@example.org", "a".repeat(MAX_LOCAL + 1));
        let long = format!("a@{}", "b".repeat(MAX_ADDRESS - 1));
        for to in [
            "",
            "ann",
            "@example.org",
            "ann@",
            "ann@example@org",
            "Ann <ann@example.org>",
            "ann@example.org, bob@example.org",
            "ann@example.org;bob",
            "ann@example.org\r\nBcc: bob@example.org",
            "ann@example.org>\r\nRCPT TO:<bob@example.org",
            "ann @example.org",
            "ann@[127.0.0.1]",
            "ann@example.org\u{85}",
            &local,
            &long,
        ] {
            let refused = letter(to, "", "").expect_err(to);
            assert!(refused.starts_with("to: "), "{refused}");
        }
    }

    #[test]
    fn a_subject_is_one_line_and_a_body_has_its_limit() {
        let to = "ann@example.org";
        assert!(letter(to, &"s".repeat(MAX_SUBJECT), &"b".repeat(MAX_BODY)).is_ok());
        assert!(letter(to, &"s".repeat(MAX_SUBJECT + 1), "").is_err());
        assert!(letter(to, "s", &"b".repeat(MAX_BODY + 1)).is_err());
        for subject in ["s\r\nBcc: bob@example.org", "s\n", "\0", "s\u{9c}"] {
            assert!(letter(to, subject, "").is_err(), "{subject:?}");
        }
    }

    #[test]
    fn whatever_is_in_it_is_escaped() {
        let letter = letter("ann@example.org", "\" }", "\"\\\r\n.\r\n\u{0}ü").expect("it is one");
        let json: serde_json::Value = serde_json::from_str(&letter.json()).expect("it is JSON");
        assert_eq!(
            json,
            json!({ "to": "ann@example.org", "subject": "\" }", "body": "\"\\\r\n.\r\n\u{0}ü" })
        );
    }

    /// The gateway's limit, with its other fields.
    #[test]
    fn the_longest_one_fits_the_gateway() {
        let address = format!("a@{}", "b".repeat(MAX_ADDRESS - 2));
        let longest = letter(&address, &"\\".repeat(MAX_SUBJECT), &"\0".repeat(MAX_BODY));
        let longest = longest.expect("it is one").json();
        assert!(
            longest.len() > 600_000 && longest.len() < 1 << 20,
            "{}",
            longest.len()
        );
    }
}
