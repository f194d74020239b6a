//! Which request it is.

use bytes::Bytes;
use http::{HeaderName, request::Parts};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Which request it is: what a backend has its records by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Of the layer's name, the method, the path, the scope and the key. One effect for each.
    pub identity: Digest,
    /// Of the query, the chosen headers and the body. A request with the same identity and another fingerprint is refused.
    pub fingerprint: Digest,
}

impl RequestId {
    pub(crate) fn new(
        name: &str,
        scope: &[u8],
        key: &str,
        headers: &[HeaderName],
        parts: &Parts,
        body: &Bytes,
    ) -> Self {
        let mut identity = Hasher::new(b"idempotency-receiver identity");
        identity.field(name.as_bytes());
        identity.field(parts.method.as_str().as_bytes());
        identity.field(parts.uri.path().as_bytes());
        identity.field(scope);
        identity.field(key.as_bytes());

        let mut fingerprint = Hasher::new(b"idempotency-receiver fingerprint");
        fingerprint.optional(parts.uri.query().map(str::as_bytes));
        for name in headers {
            let values: Vec<_> = parts.headers.get_all(name).iter().collect();
            fingerprint.count(values.len());
            for value in values {
                fingerprint.field(value.as_bytes());
            }
        }
        fingerprint.field(body);
        Self {
            identity: identity.end(),
            fingerprint: fingerprint.end(),
        }
    }
}

/// Hashes fields each with its length before it, so that no two lists of fields give the same bytes.
struct Hasher(Sha256);

impl Hasher {
    fn new(domain: &[u8]) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.field(domain);
        hasher
    }

    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.count(usize::from(bytes.is_some()));
        self.field(bytes.unwrap_or_default());
    }

    fn end(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn what_may_differ_is_told_apart() {
        let id =
            |name: &str, method: &str, uri: &str, scope: &str, key: &str, tag: &str, body: &str| {
                let request = Request::builder()
                    .method(method)
                    .uri(uri)
                    .header("x-tag", tag)
                    .body(());
                let (parts, ()) = request.expect("it is a request").into_parts();
                let headers = [HeaderName::from_static("x-tag")];
                RequestId::new(
                    name,
                    scope.as_bytes(),
                    key,
                    &headers,
                    &parts,
                    &Bytes::copy_from_slice(body.as_bytes()),
                )
            };
        let one = id("n", "POST", "/a?q", "s", "k", "t", "b");
        assert_eq!(one, id("n", "POST", "/a?q", "s", "k", "t", "b"));
        for other in [
            id("m", "POST", "/a?q", "s", "k", "t", "b"),
            id("n", "PATCH", "/a?q", "s", "k", "t", "b"),
            id("n", "POST", "/b?q", "s", "k", "t", "b"),
            id("n", "POST", "/a?q", "sk", "", "t", "b"),
            id("n", "POST", "/a?q", "", "sk", "t", "b"),
        ] {
            assert_ne!(one.identity, other.identity);
            assert_eq!(one.fingerprint, other.fingerprint);
        }
        for other in [
            id("n", "POST", "/a", "s", "k", "t", "b"),
            id("n", "POST", "/a?", "s", "k", "t", "b"),
            id("n", "POST", "/a?q", "s", "k", "u", "b"),
            id("n", "POST", "/a?q", "s", "k", "t", "c"),
            id("n", "POST", "/a?q", "s", "k", "tb", ""),
        ] {
            assert_eq!(one.identity, other.identity);
            assert_ne!(one.fingerprint, other.fingerprint);
        }
    }
}
