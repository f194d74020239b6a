//! An answer as it is recorded.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CONNECTION, CONTENT_LENGTH, DATE, PROXY_AUTHENTICATE, SET_COOKIE, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
};
use http_body_util::Full;

/// What was answered: status, headers and body.
///
/// Recorded are all headers but those that belong to one connection or one moment (`Connection`, `Keep-Alive`, `TE`, `Trailer`,
/// `Transfer-Encoding`, `Upgrade`, `Proxy-Authenticate`, `Content-Length`, which follows from the body, and `Date`), and but
/// `Set-Cookie`, which must not get to others. Whoever asks gets what is recorded, the first one, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

const NOT_RECORDED: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

impl Answer {
    /// What of a response is recorded.
    pub fn new(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        let mut headers = parts.headers;
        for name in NOT_RECORDED {
            headers.remove(name);
        }
        Self {
            status: parts.status,
            headers,
            body,
        }
    }

    /// The answer in the form in which a service gives it.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How much room it takes, in bytes.
    pub fn size(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers
            .map(|(name, value)| name.as_str().len() + value.len() + 2)
            .sum();
        headers + self.body.len()
    }

    /// The headers as lines of `name:value`. A value can't hold a line's end.
    pub fn encoded_headers(&self) -> Vec<u8> {
        let mut lines = vec![];
        for (name, value) in &self.headers {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.push(b':');
            lines.extend_from_slice(value.as_bytes());
            lines.push(b'\n');
        }
        lines
    }

    /// An answer from what was stored of it; `None` if that is not what [`encoded_headers`](Self::encoded_headers) gave, or no
    /// status.
    pub fn decoded(status: u16, headers: &[u8], body: Bytes) -> Option<Self> {
        let mut decoded = HeaderMap::new();
        for line in headers.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n")?;
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            decoded.append(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
        }
        Some(Self {
            status: StatusCode::from_u16(status).ok()?,
            headers: decoded,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let response = Response::builder()
            .status(201)
            .header("location", "/orders/1")
            .header("x-many", "one: two")
            .header(
                "x-many",
                HeaderValue::from_bytes(b"\xff\t").expect("it may stand in a header"),
            )
            .header("x-empty", "")
            .header("date", "now")
            .header("set-cookie", "secret")
            .header("transfer-encoding", "chunked")
            .body(Bytes::from_static(b"\0body"));
        let answer = Answer::new(response.expect("it is a response"));
        assert_eq!(answer.headers().len(), 4);
        let decoded = Answer::decoded(201, &answer.encoded_headers(), answer.body().clone());
        assert_eq!(decoded.as_ref(), Some(&answer));
    }

    #[test]
    fn what_was_not_stored_so_is_refused() {
        for (status, headers) in [
            (99, &b""[..]),
            (200, b"no colon\n"),
            (200, b"no-end:1"),
            (200, b"bad name:1\n"),
            (200, b"name:\x01\n"),
        ] {
            assert_eq!(Answer::decoded(status, headers, Bytes::new()), None);
        }
    }
}
