//! The list of free segments, in a memory that something else has written to.

use super::{
    super::{Damaged, segments::address},
    M, open,
};
use ic_stable_structures::Memory;

#[test]
#[cfg_attr(miri, ignore = "it would take an hour")]
fn a_list_of_free_segments_must_be_as_long_as_the_header_says() {
    for (is_last, next, expected) in [
        (true, 0, Ok(())),
        (true, 3, Err(Damaged)),
        (false, 3, Ok(())),
        (false, 0, Err(Damaged)),
        (false, u32::MAX, Err(Damaged)),
    ] {
        let memory = M::default();
        let (mut table, ..) = open(&memory);
        let segments = &mut table.segments;
        assert!(segments.reserve(2));
        let taken = [segments.take(), segments.take()].map(Result::unwrap);
        assert_eq!(taken, [2, 3]);
        let count = if is_last { 1 } else { 2 };
        segments.give_back(2, 2, count);
        memory.write(address(2), &next.to_le_bytes());
        assert_eq!(segments.take().map(drop), expected, "{is_last}, {next}");
    }
}
