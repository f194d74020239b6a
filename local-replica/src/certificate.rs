//! The data certificate that a query gets: as on the IC, but for its signature.

use candid::Principal;

/// CBOR that says it is CBOR.
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];
/// No key here could make a signature that a client believes.
const SIGNATURE: [u8; 48] = [0; 48];

/// The certificate for a canister's certified data at a time.
pub(crate) fn data_certificate(canister: Principal, data: &[u8], time_ns: u64) -> Vec<u8> {
    let data = labeled(b"certified_data", leaf(data));
    let canisters = labeled(b"canister", labeled(canister.as_slice(), data));
    let tree = fork(canisters, labeled(b"time", leaf(&leb128(time_ns))));
    let mut certificate = SELF_DESCRIBED.to_vec();
    certificate.push(header(MAP, 2));
    certificate.extend(text("tree"));
    certificate.extend(tree);
    certificate.extend(text("signature"));
    certificate.extend(bytes(&SIGNATURE));
    certificate
}

const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// The header of a CBOR item with a small number.
fn header(kind: u8, number: u8) -> u8 {
    kind << 5 | number
}

fn fork(left: Vec<u8>, right: Vec<u8>) -> Vec<u8> {
    [vec![header(ARRAY, 3), 1], left, right].concat()
}

fn labeled(label: &[u8], tree: Vec<u8>) -> Vec<u8> {
    [vec![header(ARRAY, 3), 2], bytes(label), tree].concat()
}

fn leaf(content: &[u8]) -> Vec<u8> {
    [vec![header(ARRAY, 2), 3], bytes(content)].concat()
}

fn bytes(content: &[u8]) -> Vec<u8> {
    string(BYTES, content)
}

fn text(content: &str) -> Vec<u8> {
    string(TEXT, content.as_bytes())
}

/// Nothing in a certificate is longer than 255 bytes.
fn string(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u8;
    let header = match length {
        0..24 => vec![header(kind, length)],
        _ => vec![header(kind, 24), length],
    };
    [header.as_slice(), content].concat()
}

fn leb128(mut number: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            encoded.push(byte);
            return encoded;
        }
        encoded.push(byte | 0x80);
    }
}
