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
    let (host, port, path) = split(rest)?;
    if let Some(at) = characters::not_of_a_url(path) {
        let at = bytes.len() - path.len() + at;
        return Err(match bytes[at] {
            b'#' => RequestError::Fragment,
            _ => RequestError::UrlCharacter { at: at as u64 },
        });
    }
    let mut named = [0; MAX_HOST + 2];
    let name = match &host {
        Host::Name(name) => {
            let lower = &mut named[..name.len()];
            for (to, from) in lower.iter_mut().zip(*name) {
                // In the name of a host it changes nothing but capital letters, and `_` into what no host has.
                *to = from | 0x20;
            }
            if is_private_name(lower) {
                return Err(private(rest, path));
            }
            name.len()
        }
        Host::Address(address) if is_private(*address) => return Err(private(rest, path)),
        Host::Address(IpAddr::V4(address)) => put(&mut named, &address.octets()),
        Host::Address(IpAddr::V6(address)) => put(&mut named, &address.octets()),
    };
    named[name..name + 2].copy_from_slice(&port.to_be_bytes());
    Ok(SipHasher13::new().hash(&named[..name + 2]))
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

fn private(rest: &[u8], path: &[u8]) -> RequestError {
    let authority = &rest[..rest.len() - path.len()];
    RequestError::PrivateHost {
        host: String::from_utf8_lossy(authority).into_owned(),
    }
}

/// Host, port and path, which are all that there is. The path is not checked.
fn split(rest: &[u8]) -> Result<(Host<'_>, u16, &[u8]), RequestError> {
    let (host, behind) = match rest.strip_prefix(b"[") {
        Some(bracketed) => in_brackets(bracketed),
        None => named(rest),
    }
    .ok_or_else(|| not_a_host(rest, RequestError::InvalidHost))?;
    match behind.first() {
        None | Some(b'/' | b'?' | b'#') => Ok((host, HTTPS_PORT, behind)),
        Some(b':') => {
            let digits = behind[1..].iter().take_while(|byte| byte.is_ascii_digit());
            let (port, path) = behind.split_at(1 + digits.count());
            let port = parse(&port[1..]).filter(|port| *port > 0);
            match (port, path.first()) {
                (Some(port), None | Some(b'/' | b'?' | b'#')) => Ok((host, port, path)),
                _ => Err(not_a_host(rest, RequestError::InvalidPort)),
            }
        }
        Some(_) => Err(not_a_host(rest, RequestError::InvalidHost)),
    }
}

/// What is wrong before the path: who has written a user may have meant another host than is read.
fn not_a_host(rest: &[u8], error: RequestError) -> RequestError {
    let mut authority = rest
        .iter()
        .take_while(|byte| !matches!(byte, b'/' | b'?' | b'#'));
    match authority.any(|byte| *byte == b'@') {
        true => RequestError::UserInfo,
        false => error,
    }
}

fn in_brackets(bracketed: &[u8]) -> Option<(Host<'_>, &[u8])> {
    let end = bracketed.iter().position(|byte| *byte == b']')?;
    let address: Ipv6Addr = parse(&bracketed[..end])?;
    Some((Host::Address(address.into()), &bracketed[end + 1..]))
}

/// A name, or an IPv4 address.
fn named(rest: &[u8]) -> Option<(Host<'_>, &[u8])> {
    let mut label = 0;
    let mut end = 0;
    while let Some(byte) = rest.get(end)
        && characters::is_of_a_host(*byte)
    {
        if *byte == b'.' {
            // The root's dot is the last one.
            let is_last = !rest
                .get(end + 1)
                .is_some_and(|next| characters::is_of_a_host(*next));
            if is_last {
                break;
            }
            check_label(&rest[label..end])?;
            label = end + 1;
        }
        end += 1;
    }
    let (name, behind) = rest.split_at(end);
    let last = &name[label..];
    check_label(last)?;
    let behind = behind.strip_prefix(b".").unwrap_or(behind);
    // Readers take a host for an IPv4 address if the last label is like a number: `1`, `0x7f000001`. No top-level domain begins so.
    let host = match last[0].is_ascii_digit() {
        true => Host::Address(parse::<Ipv4Addr>(name)?.into()),
        false if name.len() > MAX_HOST => return None,
        false => Host::Name(name),
    };
    Some((host, behind))
}

fn check_label(label: &[u8]) -> Option<()> {
    let is_valid = (1..=MAX_LABEL).contains(&label.len())
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-');
    is_valid.then_some(())
}

fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Names that no public server has: RFC 6761 (`localhost`), RFC 6762 (`local`), RFC 8375 (`home.arpa`), and `internal`, which ICANN
/// reserves for private networks.
fn is_private_name(name: &[u8]) -> bool {
    let label = name.iter().rposition(|byte| *byte == b'.');
    match &name[label.map_or(0, |dot| dot + 1)..] {
        b"localhost" | b"local" | b"internal" => true,
        b"arpa" => name == b"home.arpa" || name.ends_with(b".home.arpa"),
        _ => false,
    }
}

/// Addresses that the IANA's registries of special-purpose addresses do not call globally reachable, and multicast.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    matches!(
        address.octets(),
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
            | [224..=255, ..]
    )
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
