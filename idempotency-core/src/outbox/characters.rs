//! Which bytes may stand where. Each message that is sent pays for each byte of its URL and headers, so a byte is looked up in a table,
//! and what is in order is not left early: a loop without a branch takes half as long.

const URL: u8 = 1;
const TOKEN: u8 = 2;
const VALUE: u8 = 4;
const HOST: u8 = 8;
/// May stand in a URL without a look at what follows, as all may but the percent sign.
const PLAIN: u8 = 16;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let at = byte as u8;
        if at.is_ascii_alphanumeric() {
            classes[byte] = URL | PLAIN | TOKEN | HOST;
        }
        if at == b'\t' || (at >= b' ' && at < 0x7f) {
            classes[byte] |= VALUE;
        }
        byte += 1;
    }
    // RFC 3986, and what queries have without being encoded: brackets and bars. The crate `http` takes these, too.
    mark(&mut classes, b"-._~:/?@!$&'()*+,;=[]|", URL | PLAIN);
    mark(&mut classes, b"%", URL);
    // RFC 9110, section 5.6.2.
    mark(&mut classes, b"!#$%&'*+-.^_`|~", TOKEN);
    mark(&mut classes, b"-_.", HOST);
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

fn are_all(bytes: &[u8], class: u8) -> bool {
    let classes = bytes.iter().map(|byte| CLASSES[usize::from(*byte)]);
    classes.fold(class, |all, one| all & one) != 0
}

/// The first byte that can't stand after the host of a URL, a percent sign without its two digits included.
pub(super) fn not_of_a_url(bytes: &[u8]) -> Option<usize> {
    if are_all(bytes, PLAIN) {
        return None;
    }
    let is_wrong = |(at, byte): (usize, &u8)| {
        let digits = || bytes.get(at + 1..at + 3);
        let is_encoded = || digits().is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit));
        !is(*byte, URL) || (*byte == b'%' && !is_encoded())
    };
    bytes.iter().enumerate().position(is_wrong)
}

/// Whether it is the name of a header.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && are_all(bytes, TOKEN)
}

/// Whether it is the value of a header: visible ASCII, spaces and tabs. Eight bytes at a time, as long as there is no tab.
pub(super) fn is_header_value(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    let is_visible = |word: &[u8; 8]| {
        let bits = u64::from_le_bytes(*word);
        let below_space = bits.wrapping_sub(ONES << 5) & !bits;
        (bits | bits.wrapping_add(ONES) | below_space) & HIGH == 0
    };
    let mut words = words.iter();
    words.all(|word| is_visible(word) || are_all(word, VALUE)) && are_all(rest, VALUE)
}

/// Whether it may stand in the name of a host, dots included.
pub(super) fn is_of_a_host(byte: u8) -> bool {
    is(byte, HOST)
}
