//! A node: what sends one request, and judges what comes back, with the codes and texts of the IC's nodes.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pocket_ic::common::rest::{
    CanisterHttpHeader, CanisterHttpMethod, CanisterHttpReject, CanisterHttpReply,
    CanisterHttpRequest, CanisterHttpResponse,
};
use reqwest::header::{HOST, USER_AGENT};
use reqwest::{Client, Method, redirect};

const SYS_FATAL: u64 = 1;
pub(super) const SYS_TRANSIENT: u64 = 2;
/// What a response may have where the request sets no limit.
const MAX_RESPONSE_BYTES: u64 = 2_000_000;
/// The name that nodes go by where the canister gives none.
const AGENT: &str = "ic/1.0";

/// What a node says of its request.
#[derive(Debug)]
pub(super) enum Heard {
    Reply(CanisterHttpReply),
    /// The request or the response is none that a node takes.
    OutOfBounds(String),
    /// No connection, or a broken one.
    Broken(String),
    /// Nothing, as long as it waited.
    Nothing,
}

impl Heard {
    /// What the subnet gets to know; nothing from a node that waits.
    pub(super) fn into_response(self) -> Option<CanisterHttpResponse> {
        let reject = |reject_code, message| {
            CanisterHttpResponse::CanisterHttpReject(CanisterHttpReject {
                reject_code,
                message,
            })
        };
        match self {
            Self::Reply(reply) => Some(CanisterHttpResponse::CanisterHttpReply(reply)),
            Self::OutOfBounds(text) => Some(reject(SYS_FATAL, text)),
            Self::Broken(text) => Some(reject(SYS_TRANSIENT, text)),
            Self::Nothing => None,
        }
    }
}

/// A request that is none for a node to make: why.
pub(super) fn check(request: &CanisterHttpRequest) -> Result<(), Heard> {
    let refuse = |text: &str| Err(Heard::OutOfBounds(text.to_owned()));
    match request.url.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => Ok(()),
        _ => refuse("Url need to specify https scheme"),
    }
}

/// Host and port of a URL, as it has them.
pub(super) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

/// As nodes word it that they get no connection.
pub(super) fn no_connection(url: &str, why: &str) -> Heard {
    let host = authority(url);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    Heard::Broken(format!(
        "Connecting to {host:.50} failed: direct connect {why}"
    ))
}

/// The client of a node, which keeps its connections, and comes from an address of its own: 127.0.0.2 and up.
pub(super) fn client(node: usize) -> Client {
    let last = u8::try_from(node + 2).expect("fewer than 250 nodes");
    Client::builder()
        .local_address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .http1_only()
        .tcp_nodelay(true)
        .build()
        .expect("a client for plain HTTP")
}

/// Sends a request for so long, and hears what comes back.
pub(super) async fn send(
    client: &Client,
    server: SocketAddr,
    request: &CanisterHttpRequest,
    patience: Duration,
) -> Heard {
    let exchange = exchange(client, server, request);
    match tokio::time::timeout(patience, exchange).await {
        Ok(Ok(reply)) => Heard::Reply(reply),
        Ok(Err(heard)) => heard,
        Err(_) => Heard::Nothing,
    }
}

async fn exchange(
    client: &Client,
    server: SocketAddr,
    request: &CanisterHttpRequest,
) -> Result<CanisterHttpReply, Heard> {
    let broken = |error: reqwest::Error| no_connection(&request.url, &innermost(&error));
    let limit = request.max_response_bytes.unwrap_or(MAX_RESPONSE_BYTES);
    let built = build(client, server, request)
        .map_err(|error| Heard::OutOfBounds(format!("Failed to parse URL: {error}")))?;
    let mut response = client.execute(built).await.map_err(broken)?;
    let mut headers = Vec::with_capacity(response.headers().len());
    let mut size = 0;
    for (name, value) in response.headers() {
        size += (name.as_str().len() + value.len()) as u64;
        let value = value
            .to_str()
            .map_err(|error| Heard::Broken(format!("Failed to parse headers: {error}")))?;
        headers.push(CanisterHttpHeader {
            name: name.to_string(),
            value: value.to_owned(),
        });
    }
    let left = limit.checked_sub(size).ok_or_else(|| {
        Heard::OutOfBounds(format!(
            "Header size exceeds specified response size limit {limit}"
        ))
    })?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > left {
            return Err(Heard::OutOfBounds(format!(
                "Http body exceeds size limit of {limit} bytes."
            )));
        }
    }
    Ok(CanisterHttpReply {
        status: response.status().as_u16(),
        headers,
        body,
    })
}

fn build(
    client: &Client,
    server: SocketAddr,
    request: &CanisterHttpRequest,
) -> Result<reqwest::Request, reqwest::Error> {
    let authority = authority(&request.url);
    let path = request.url.split_once(authority).map_or("", |(_, it)| it);
    let method = match request.http_method {
        CanisterHttpMethod::GET => Method::GET,
        CanisterHttpMethod::HEAD => Method::HEAD,
        CanisterHttpMethod::POST => Method::POST,
        CanisterHttpMethod::PUT => Method::PUT,
        CanisterHttpMethod::DELETE => Method::DELETE,
        CanisterHttpMethod::PATCH => Method::PATCH,
    };
    let mut builder = client
        .request(method, format!("http://{server}{path}"))
        .body(request.body.clone());
    let given = |name: &str| {
        let mut names = request.headers.iter().map(|header| &header.name);
        names.any(|given| given.eq_ignore_ascii_case(name))
    };
    if !given(HOST.as_str()) {
        builder = builder.header(HOST, authority);
    }
    if !given(USER_AGENT.as_str()) {
        builder = builder.header(USER_AGENT, AGENT);
    }
    for header in &request.headers {
        builder = builder.header(&header.name, &header.value);
    }
    builder.build()
}

/// What lies at the bottom of an error: the same for all nodes, so that they can agree on it.
fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::authority;

    #[test]
    fn authority_is_between_scheme_and_path() {
        for (url, expected) in [
            ("https://a.example", "a.example"),
            ("https://a.example:8443/b?c", "a.example:8443"),
            ("https://a.example?b", "a.example"),
            ("https://user@a.example/", "a.example"),
            ("https://[::1]:80/", "[::1]:80"),
            ("a.example/b", "a.example"),
            ("https://", ""),
        ] {
            assert_eq!(authority(url), expected, "{url}");
        }
    }
}
