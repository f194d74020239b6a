//! What is sent to, and what is not.

use super::arbitrary;
use crate::outbox::{error::RequestError, limits::MAX_URL, url::host};
use proptest::prelude::*;

fn refused(url: &str) -> RequestError {
    host(url).expect_err(url)
}

#[test]
fn public_hosts_are_sent_to() {
    for url in [
        "https://example.com",
        "https://example.com/",
        "https://example.com:8443/v1/orders?expand[]=items&x=%7B%22a%22%3A1%7D",
        "HTTPS://Example.COM?x",
        "https://xn--mnchen-3ya.example",
        "https://a_b.example.com/;v=1,2|3",
        "https://example.com./",
        "https://localhost.example.com",
        "https://notlocalhost",
        "https://internal.example",
        "https://1password.example",
        "https://1.1.1.1/dns-query",
        "https://172.15.0.1",
        "https://172.32.0.1",
        "https://100.63.255.255",
        "https://192.0.1.1",
        "https://[2606:4700::1111]:443/",
        "https://[64:ff9b::101:101]/",
        "https://[2002:101:101::]/",
    ] {
        assert!(host(url).is_ok(), "{url}: {:?}", host(url));
    }
}

#[test]
fn private_hosts_are_not() {
    for name in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "internal",
        "nas.home.arpa",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.0.0.1.",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[fc00::1]",
        "[fd12:3456::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
    ] {
        for url in [format!("https://{name}/"), format!("https://{name}:8443")] {
            let error = refused(&url);
            assert!(
                matches!(error, RequestError::PrivateHost { .. }),
                "{url}: {error}"
            );
        }
    }
}

#[test]
fn addresses_are_spelt_in_one_way() {
    for name in [
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "127.0.0.0x1",
        "0177.0.0.1",
        "127.0.0.01",
        "1.2.3.256",
        "1.2.3.4.5",
        "example.0",
        "example.0x",
        "1.1.1.1..",
        "[::1",
        "[fe80::1%25eth0]",
        "[1.1.1.1]",
        "[]",
        "",
        ".",
        "a..b",
        ".example.com",
        "-a.example",
        "a-.example",
        "exa mple.com",
        "exa%6dple.com",
        "münchen.example",
        "example.com\\",
        "exa\0mple.com",
        "１２７.0.0.1",
        "localhost。",
    ] {
        for url in [format!("https://{name}/"), format!("https://{name}")] {
            assert_eq!(refused(&url), RequestError::InvalidHost, "{url}");
        }
    }
    let label = "a".repeat(64);
    assert_eq!(
        refused(&format!("https://{label}.example")),
        RequestError::InvalidHost
    );
    let long = ["a".repeat(63).as_str(); 4].join(".");
    assert_eq!(
        refused(&format!("https://{long}")),
        RequestError::InvalidHost
    );
    assert!(host(&format!("https://{}/", &long[2..])).is_ok());
}

#[test]
fn what_else_is_wrong_is_said() {
    for url in [
        "",
        "example.com",
        "http://example.com",
        "https:/example.com",
        "wss://a",
        " https://a.b",
        "https:\\\\a.b",
    ] {
        assert_eq!(refused(url), RequestError::NotHttps, "{url}");
    }
    for url in [
        "https://u@example.com",
        "https://u:p@example.com/",
        "https://@a.b",
        "https://example.com:1@127.0.0.1",
    ] {
        assert_eq!(refused(url), RequestError::UserInfo, "{url}");
    }
    for url in ["https://a.b#", "https://a.b/#x", "https://a.b/?q#x@y"] {
        assert_eq!(refused(url), RequestError::Fragment, "{url}");
    }
    for port in [
        "",
        "0",
        "00",
        "65536",
        "99999999999",
        "+1",
        "-1",
        "1x",
        "１",
    ] {
        for name in ["a.b", "[2606:4700::1]"] {
            let url = format!("https://{name}:{port}/");
            assert_eq!(refused(&url), RequestError::InvalidPort, "{url}");
        }
    }
    assert_eq!(
        refused("https://[2606:4700::1]x/"),
        RequestError::InvalidHost
    );
    for (url, at) in [
        ("https://a.b/ ", 12),
        ("https://a.b/\n", 12),
        ("https://a.b/x\0", 13),
        ("https://a.b/ü", 12),
        ("https://a.b/<", 12),
        ("https://a.b/\"", 12),
        ("https://a.b/{id}", 12),
        ("https://a.b/\\", 12),
        ("https://a.b/^", 12),
        ("https://a.b/%", 12),
        ("https://a.b/%a", 12),
        ("https://a.b/%ag", 12),
        ("https://a.b/?%41%4", 16),
    ] {
        assert_eq!(refused(url), RequestError::UrlCharacter { at }, "{url}");
    }
    let longest = format!("https://a.b/{}", "x".repeat(MAX_URL - 12));
    assert!(host(&longest).is_ok());
    let error = RequestError::UrlTooLong {
        length: MAX_URL as u64 + 1,
        max: MAX_URL as u64,
    };
    assert_eq!(refused(&format!("{longest}x")), error);
}

#[test]
fn a_host_has_one_number() {
    let same = [
        "https://a.example",
        "https://A.Example./x",
        "https://a.example:443?y",
        "https://a.example:0443",
    ];
    let numbers = same.map(|url| host(url).unwrap());
    assert_eq!(numbers, [numbers[0]; 4]);
    let others = [
        "https://b.example",
        "https://a.example:444",
        "https://1.2.3.4",
        "https://[2606::102:304]",
    ];
    for url in others {
        assert_ne!(host(url).unwrap(), numbers[0], "{url}");
    }
    assert_eq!(
        host("https://[2606:0::1]"),
        host("https://[2606::0:1]:443/")
    );
}

proptest! {
    #[test]
    fn nothing_is_too_odd_to_be_read(text in any::<String>(), bytes in "[ -~]{0,40}") {
        let _ = host(&text);
        let _ = host(&format!("https://{text}"));
        let _ = host(&format!("https://{bytes}"));
    }

    /// What is kept can be sent: the IC's adapter reads URLs with the crate `http`, and must find the same host.
    #[test]
    fn the_adapter_reads_what_is_taken(url in prop_oneof![arbitrary::url(), "https://[!-~]{1,24}", "https://[a-z.]{1,5}[/?][!-~]{0,24}"]) {
        if host(&url).is_ok() {
            let uri: http::Uri = url.parse().expect(&url);
            prop_assert_eq!(uri.scheme(), Some(&http::uri::Scheme::HTTPS));
            let name = uri.host().unwrap();
            let port = uri.port_u16().unwrap_or(443);
            prop_assert_eq!(host(&format!("https://{name}:{port}")), host(&url));
            let begin = format!("https://{}", uri.authority().unwrap());
            prop_assert!(url.starts_with(&begin));
        }
    }

    #[test]
    fn what_is_in_order_is_taken(url in arbitrary::url()) {
        prop_assert!(host(&url).is_ok(), "{url}: {:?}", host(&url));
    }
}
