//! Cells and texts, across reopening, beside a plain model; and in a memory that something else has written to.

use super::{
    super::{Cells, Damaged, Opening, Purpose, Texts, segments::address},
    M, open as open_table,
};
use ic_stable_structures::Memory;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Found = BTreeMap<u32, [u8; 32]>;

fn opening(memory: &M) -> Opening<M> {
    Opening::read(memory.clone(), Purpose::Requests, true, [8, 16], |_| 2).unwrap()
}

/// The cells as another heap finds them, and those in use.
fn cells(memory: &M) -> Result<(Cells, Found), Damaged> {
    let mut found = Found::new();
    let cells = opening(memory).cells(|cell, bytes| {
        found.insert(cell, *bytes);
        Ok(())
    })?;
    Ok((cells, found))
}

fn content(seed: u8, count: u64) -> [u8; 32] {
    let mut content = [seed; 32];
    content[..8].copy_from_slice(&(count + 1).to_le_bytes());
    content
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 64 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cells_are_as_they_were_written(ops in prop::collection::vec(any::<[u8; 3]>(), 1..200)) {
        let memory = M::default();
        let (mut table, ..) = open_table(&memory);
        let segments = &mut table.segments;
        let (mut known, mut model) = cells(&memory).unwrap();
        let mut last_number = 0;
        for (count, [kind, nth, seed]) in (0..).zip(ops) {
            let in_use = |model: &Found| model.keys().nth(usize::from(nth) % model.len().max(1)).copied();
            match kind % 16 {
                0..=7 => {
                    // Sometimes more than a segment has.
                    let many = if kind == 0 { 2_100 } else { 1 };
                    for more in 0..many {
                        prop_assert!(segments.reserve(1));
                        let cell = known.take(segments).unwrap();
                        let content = content(seed, count * 4_000 + more);
                        known.write(segments, cell, &content).unwrap();
                        prop_assert_eq!(model.insert(cell, content), None);
                    }
                }
                8..=9 => if let Some(cell) = in_use(&model) {
                    model.insert(cell, content(seed, count));
                    known.write(segments, cell, &content(seed, count)).unwrap();
                },
                10..=13 => if let Some(cell) = in_use(&model) {
                    model.remove(&cell);
                    known.free(segments, cell).unwrap();
                },
                14 => for _ in 0..u16::from(nth) * 10 {
                    let number = known.number(segments);
                    prop_assert!(number > last_number);
                    last_number = number;
                },
                _ => {
                    let found;
                    (known, found) = cells(&memory).unwrap();
                    prop_assert_eq!(&found, &model);
                    prop_assert!(known.next_number() > last_number);
                }
            }
        }
        prop_assert_eq!(cells(&memory).unwrap().1, model);
    }

    /// They come to an end, and a cell that is not there is damage.
    #[test]
    fn damaged_cells_and_texts_are_refused_or_read(
        patches in prop::collection::vec((0..40usize, any::<u8>(), any::<u32>()), 1..20),
    ) {
        let memory = M::default();
        let (mut table, ..) = open_table(&memory);
        let (mut known, _) = cells(&memory).unwrap();
        for count in 0..3_000 {
            assert!(table.segments.reserve(1));
            let cell = known.take(&mut table.segments).unwrap();
            known.write(&table.segments, cell, &content(7, count)).unwrap();
        }
        let mut texts = opening(&memory).texts().unwrap();
        for text in ["pay", "book", "settle"] {
            texts.number(&table.segments, text);
        }
        for (place, byte, word) in patches {
            let word = if byte % 2 == 0 { word % 6 } else { word };
            let at = match place {
                0..20 => 96 + place as u64 % 16,
                20..30 => 36_864 + u64::from(byte) % 24,
                _ => address(2 + u32::from(byte) % 2),
            };
            memory.write(at, &word.to_le_bytes()[..1 + place % 4]);
        }
        if let Ok(texts) = opening(&memory).texts() {
            prop_assert!(texts.text(u16::MAX).is_none());
        }
        if let Ok((mut known, found)) = cells(&memory) {
            let segments = &mut table.segments;
            prop_assert!(segments.reserve(1));
            for cell in found.keys().take(10) {
                let _ = known.free(segments, *cell);
            }
            let _ = known.take(segments);
            prop_assert_eq!(known.write(segments, u32::MAX, &[1; 32]), Err(Damaged));
            prop_assert_eq!(known.free(segments, u32::MAX), Err(Damaged));
        }
    }
}

/// A page of the memory holds 2,016 cells, and what is free is used again.
#[test]
fn cells_take_no_more_segments_than_were_ever_in_use_at_a_time() {
    let memory = M::default();
    let (mut table, ..) = open_table(&memory);
    let segments = &mut table.segments;
    let (mut known, _) = cells(&memory).unwrap();
    let in_segment = 2_016;
    for round in 0..3 {
        let taken: Vec<_> = (0..2 * in_segment)
            .map(|count| {
                assert!(segments.reserve(1));
                let cell = known.take(segments).unwrap();
                known.write(segments, cell, &content(1, count)).unwrap();
                cell
            })
            .collect();
        assert_eq!(segments.header.pages, 4, "in round {round}");
        for cell in taken {
            known.free(segments, cell).unwrap();
        }
    }
}

#[test]
fn numbers_of_a_heap_that_is_gone_are_not_given_out_again() {
    let memory = M::default();
    let (table, ..) = open_table(&memory);
    let mut last = 0;
    for count in [1, 3, 1_023, 1_024, 1_025, 5_000] {
        let (mut known, _) = cells(&memory).unwrap();
        for _ in 0..count {
            let number = known.number(&table.segments);
            assert!(number > last, "{number} after {last}");
            last = number;
        }
    }
}

#[test]
fn texts_have_the_same_numbers_in_each_heap() {
    let memory = M::default();
    let (table, ..) = open_table(&memory);
    let names: Vec<String> = (0..5_000)
        .map(|number| format!("endpoint {number}"))
        .collect();
    let mut given: Vec<Option<u16>> = vec![];
    let mut texts: Texts = opening(&memory).texts().unwrap();
    for (count, name) in names.iter().enumerate() {
        if count % 700 == 0 {
            texts = opening(&memory).texts().unwrap();
        }
        given.push(texts.number(&table.segments, name));
    }
    let fit = given.iter().flatten().count();
    assert!((1_000..5_000).contains(&fit), "{fit} fit");
    let mut texts = opening(&memory).texts().unwrap();
    for (name, number) in names.iter().zip(&given) {
        assert_eq!(
            number.and_then(|number| texts.text(number)),
            number.map(|_| name.as_str())
        );
        if number.is_some() {
            assert_eq!(texts.number(&table.segments, name), *number);
        }
    }
    assert_eq!(texts.number(&table.segments, ""), None);
    assert_eq!(texts.number(&table.segments, &"x".repeat(70_000)), None);
}
