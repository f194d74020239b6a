//! Memories as texts, for golden dumps.

use std::fmt::Write as _;

const LINE_BYTES: usize = 32;

/// Bytes as lines of an address and 32 bytes. A line stands for all that follow and are equal.
pub(crate) fn dumped(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut last: &[u8] = &[];
    for (index, line) in bytes.chunks(LINE_BYTES).enumerate() {
        if line != last {
            write!(text, "{:08x} ", index * LINE_BYTES).unwrap();
            for byte in line {
                write!(text, "{byte:02x}").unwrap();
            }
            text.push('\n');
        }
        last = line;
    }
    writeln!(text, "{:08x}", bytes.len()).unwrap();
    text
}

/// The bytes of a text that [`dumped`] made.
pub(crate) fn loaded(text: &str) -> Vec<u8> {
    let mut bytes = vec![];
    let mut last = vec![];
    for line in text.lines() {
        let (address, content) = line.split_once(' ').unwrap_or((line, ""));
        let address = usize::from_str_radix(address, 16).unwrap();
        while bytes.len() < address {
            bytes.extend_from_slice(&last);
        }
        last = (0..content.len() / 2)
            .map(|index| u8::from_str_radix(&content[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        bytes.extend_from_slice(&last);
    }
    bytes
}
