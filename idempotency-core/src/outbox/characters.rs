//! Which bytes may stand where, as one table: each byte of a URL and of a header is looked up once.

const URL: u8 = 1;
const TOKEN: u8 = 2;
const VALUE: u8 = 4;
const HOST: u8 = 8;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let at = byte as u8;
        if at.is_ascii_alphanumeric() {
            classes[byte] = URL | TOKEN | HOST;
        }
        if at == b'\t' || (at >= b' ' && at < 0x7f) {
            classes[byte] |= VALUE;
        }
        byte += 1;
    }
    // RFC 3986, and what queries have without being encoded: brackets and bars. The crate `http` takes these, too.
    mark(&mut classes, b"-._~:/?@!$&'()*+,;=%[]|", URL);
    // RFC 9110, section 5.6.2.
    mark(&mut classes, b"!#$%&'*+-.^_`|~", TOKEN);
    mark(&mut classes, b"-_", HOST);
    classes
}

const fn mark(classes: &mut [u8; 256], bytes: &[u8], class: u8) {
    let mut index = 0;
    while index < bytes.len() {
        classes[bytes[index] as usize] |= class;
        index += 1;
    }
}

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// The first byte that can't stand after the host of a URL, a percent sign without its two digits included. What follows a `#`
/// is not looked at.
pub(super) fn not_of_a_url(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if !is(*byte, URL) {
            return Some(at);
        }
        if *byte == b'%' {
            let digits = bytes.get(at + 1..at + 3);
            if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                return Some(at);
            }
        }
        at += 1;
    }
    None
}

/// Whether it is the name of a header.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is(*byte, TOKEN))
}

/// Whether it is the value of a header.
pub(super) fn is_header_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| is(*byte, VALUE))
}

/// Whether it may stand in a label of a domain name.
pub(super) fn is_of_a_label(byte: u8) -> bool {
    is(byte, HOST)
}
