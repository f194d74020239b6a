//! The bytes that are kept.

use super::arbitrary;
use crate::outbox::{__reads_any_bytes, request::Request, stored::Stored, url};
use proptest::{collection::vec, prelude::*};

#[test]
fn the_layout_stays_what_it_is() {
    let request = Request::post("https://a.b/c")
        .header("Ab", "c")
        .body("xy")
        .max_response_bytes(0x1_0203)
        .replicated(true)
        .idempotency_key("own")
        .extract("/d")
        .keep_header("E")
        .verify(Request::head("https://a.b/"))
        .about([7, 8]);
    let head = |method, flags, max: u32, lengths: [u16; 5], body: u32| {
        let lengths = lengths.map(u16::to_le_bytes).concat();
        [
            &[method, flags][..],
            &max.to_le_bytes(),
            &lengths,
            &body.to_le_bytes(),
        ]
        .concat()
    };
    let expected = [
        &[1, 2, 0][..],
        &head(2, 1 | 2 | 4 | 8, 0x1_0203, [13, 7, 15, 3, 8], 2),
        b"https://a.b/c",
        b"\x02\0\x01\0Abc",
        b"Idempotency-Key",
        b"own",
        b"\x01\x07\x02\0/d\x01e",
        b"xy",
        &[7, 8],
        &head(1, 1, 16_384, [12, 0, 0, 0, 4], 0),
        b"https://a.b/",
        b"\x01\x03\0\0",
    ];
    let stored = request.check().unwrap().stored;
    assert_eq!(stored, expected.concat());
    // What is cut off, or has more, was not written so.
    for length in 0..stored.len() {
        let is_whole = length == stored.len() - 36;
        assert_eq!(
            Stored::read(&stored[..length]).is_some(),
            is_whole,
            "{length}"
        );
    }
    assert_eq!(Stored::read(&[&stored[..], &[0]].concat()), None);
    for (at, byte) in [(0, 0), (0, 2), (3, 5), (4, 16), (4, 2 | 4 | 8 | 64), (4, 0)] {
        let mut other = stored.clone();
        other[at] = byte;
        assert_eq!(Stored::read(&other), None, "{at}: {byte}");
    }
}

proptest! {
    #[test]
    fn a_request_that_can_be_sent_is_read_as_it_was(request in arbitrary::request()) {
        let checked = request.check().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let stored = Stored::read(&checked.stored).expect("it was written so");
        prop_assert_eq!(stored.bytes(), checked.stored.clone());
        prop_assert_eq!(stored.verify().is_some(), checked.has_verify);
        prop_assert_eq!(url::host(stored.outcall().url), Ok(checked.host));
    }

    #[test]
    fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(__reads_any_bytes(&bytes));
    }

    #[test]
    fn any_damage_is_read(request in arbitrary::request(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = request.check().unwrap().stored;
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(__reads_any_bytes(&bytes));
    }
}
