//! What layout version 2 would have made of the same contents: `table/version2.rs`, the other way round.

use super::super::{
    header::Header,
    layout::{ENTRY_BYTES, Live},
};
use ic_stable_structures::Memory;

const COUNTERS_AT: u64 = 256;
const COUNTERS: u64 = 16;
const OLD_ENTRY_BYTES: u64 = 56;

/// Writes header and counters' table of a memory as version 2 did. What it did not use may be anything.
pub(super) fn downgrade(memory: &impl Memory, header: &Header) {
    let entries: Vec<[u8; ENTRY_BYTES]> = (0..COUNTERS)
        .map(|number| {
            let mut entry = [0; ENTRY_BYTES];
            memory.read(COUNTERS_AT + number * ENTRY_BYTES as u64, &mut entry);
            entry
        })
        .collect();
    memory.write(0, &[0xEE; 4_096]);
    let [requests, counters] = header.live;
    let live = |live: Live| [live.first.to_le_bytes(), live.count.to_le_bytes()].concat();
    let numbers = [
        header.pages,
        header.free_head,
        header.free_count,
        header.index_segment,
        header.index_units,
    ];
    let fields = [
        b"IDMPTCY\x02".to_vec(),
        header.incarnation.to_le_bytes().to_vec(),
        header.words[..3]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect(),
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect(),
        live(requests),
        header.words[3].to_le_bytes().to_vec(),
        live(counters),
    ];
    memory.write(0, &fields.concat());
    for (entry, number) in entries.iter().zip(0..) {
        let old = [&entry[..24], &entry[56..], &entry[24..42]].concat();
        memory.write(COUNTERS_AT + number * OLD_ENTRY_BYTES, &old);
    }
}
