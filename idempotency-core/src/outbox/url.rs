//! The URLs that are sent to: `https://`, a host that all replicas can reach, and nothing that a server would not see.
//!
//! The IC's nodes are in a network of their own, and refuse nothing: a canister that sends where its users say would let them speak to
//! whatever listens there. So addresses that are not of the public network are refused, as are the names that stand for them, and the
//! spellings of addresses that one reader takes for a name and the next for an address. A public name that resolves to a private
//! address can't be recognised here.
//!
//! This is no general parser of URLs: it reads each byte once and allocates nothing, as each message that is sent pays for it.

use super::{characters, error::RequestError, limits::MAX_URL};
use siphasher::sip::SipHasher13;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name of a host, without the root's dot.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;
const HTTPS_PORT: u16 = 443;

/// A number for the host and the port of a URL, by which the rate at which the host is sent to is limited, or why nothing is sent there.
///
/// It is 8 bytes of SipHash with no key. Hosts with one number share a rate, and nothing else: whoever may choose hosts may send to
/// one host as well as to another.
pub(super) fn host(url: &str) -> Result<u64, RequestError> {
    const HTTPS: &[u8] = b"https://";
    let bytes = url.as_bytes();
    if bytes.len() > MAX_URL {
        return Err(RequestError::UrlTooLong {
            length: bytes.len() as u64,
            max: MAX_URL as u64,
        });
    }
    let is_https = |scheme: &[u8]| scheme.eq_ignore_ascii_case(HTTPS);
    if !bytes.get(..HTTPS.len()).is_some_and(is_https) {
        return Err(RequestError::NotHttps);
    }
    let rest = &bytes[HTTPS.len()..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    if let Some(at) = characters::not_of_a_url(path) {
        let at = HTTPS.len() + authority.len() + at;
        return Err(match bytes[at] {
            b'#' => RequestError::Fragment,
            _ => RequestError::UrlCharacter { at: at as u64 },
        });
    }
    if authority.contains(&b'@') {
        return Err(RequestError::UserInfo);
    }
    let (host, port) = split(authority)?;
    let mut named = [0; MAX_HOST + 1 + 2];
    let length = match host {
        Host::Address(address) => {
            if is_private(address) {
                return Err(private(authority));
            }
            match address {
                IpAddr::V4(address) => put(&mut named, &address.octets()),
                IpAddr::V6(address) => put(&mut named, &address.octets()),
            }
        }
        Host::Name(name) => {
            let length = put(&mut named, name);
            named[..length].make_ascii_lowercase();
            if is_private_name(&named[..length]) {
                return Err(private(authority));
            }
            length
        }
    };
    named[length..length + 2].copy_from_slice(&port.to_be_bytes());
    Ok(SipHasher13::new().hash(&named[..length + 2]))
}

enum Host<'a> {
    /// Without the root's dot.
    Name(&'a [u8]),
    Address(IpAddr),
}

fn put(named: &mut [u8], host: &[u8]) -> usize {
    named[..host.len()].copy_from_slice(host);
    host.len()
}

fn private(authority: &[u8]) -> RequestError {
    RequestError::PrivateHost {
        host: String::from_utf8_lossy(authority).into_owned(),
    }
}

/// Host and port.
fn split(authority: &[u8]) -> Result<(Host<'_>, u16), RequestError> {
    if let Some(bracketed) = authority.strip_prefix(b"[") {
        let end = bracketed.iter().position(|byte| *byte == b']');
        let (address, port) = bracketed.split_at(end.ok_or(RequestError::InvalidHost)?);
        let address: Ipv6Addr = parse(address).ok_or(RequestError::InvalidHost)?;
        return Ok((Host::Address(address.into()), self::port(&port[1..])?));
    }
    let end = authority.iter().position(|byte| *byte == b':');
    let (name, port) = authority.split_at(end.unwrap_or(authority.len()));
    let name = name.strip_suffix(b".").unwrap_or(name);
    let last = check_labels(name).ok_or(RequestError::InvalidHost)?;
    let host = match is_number(last) {
        true => Host::Address(
            parse::<Ipv4Addr>(name)
                .ok_or(RequestError::InvalidHost)?
                .into(),
        ),
        false => Host::Name(name),
    };
    Ok((host, self::port(port)?))
}

/// The last label of a name whose labels are all valid.
fn check_labels(name: &[u8]) -> Option<&[u8]> {
    if name.len() > MAX_HOST {
        return None;
    }
    let mut start = 0;
    for (at, byte) in name.iter().enumerate() {
        match byte {
            b'.' => {
                check_label(&name[start..at])?;
                start = at + 1;
            }
            _ if characters::is_of_a_label(*byte) => {}
            _ => return None,
        }
    }
    check_label(&name[start..])
}

fn check_label(label: &[u8]) -> Option<&[u8]> {
    let is_valid = (1..=MAX_LABEL).contains(&label.len())
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-');
    is_valid.then_some(label)
}

/// Whether readers take a host for an IPv4 address whose last label this is: `1`, `0x7f000001`. No top-level domain begins with a digit.
fn is_number(label: &[u8]) -> bool {
    label.first().is_some_and(u8::is_ascii_digit)
}

/// What stands behind the host: nothing, or a colon and a number.
fn port(rest: &[u8]) -> Result<u16, RequestError> {
    let Some((colon, digits)) = rest.split_first() else {
        return Ok(HTTPS_PORT);
    };
    // `parse` takes a sign.
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let port = match is_number && *colon == b':' {
        true => parse(digits).filter(|port| *port > 0),
        false => None,
    };
    port.ok_or(RequestError::InvalidPort)
}

fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Names that no public server has: RFC 6761 (`localhost`), RFC 6762 (`local`), RFC 8375 (`home.arpa`), and `internal`, which ICANN
/// reserves for private networks.
fn is_private_name(name: &[u8]) -> bool {
    [&b"localhost"[..], b"local", b"internal", b"home.arpa"]
        .iter()
        .any(|private| match name.strip_suffix(*private) {
            Some(before) => before.is_empty() || before.ends_with(b"."),
            None => false,
        })
}

/// Addresses that the IANA's registries of special-purpose addresses do not call globally reachable, and multicast.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0 | 10 | 127, ..]
        | [100, 64..=127, ..]
        | [169, 254, ..]
        | [172, 16..=31, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [192, 168, ..]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [224..=255, ..] => true,
        _ => false,
    }
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let embedded =
        |high: u16, low: u16| is_private_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // Today's public addresses are all in 2000::/3, or translate an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Protocol assignments with Teredo, documentation.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => true,
        [0x2000..=0x3fff, ..] => false,
        _ => true,
    }
}
