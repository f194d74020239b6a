use super::*;

/// What an id costs, in bytes of the memory, with all that is needed for it.
#[test]
fn an_id_takes_no_more_than_28_bytes() {
    let mut archive = archive(false);
    let mut position = Position::default();
    for first in (0..1_000_000).step_by(25_000) {
        position = taken(archive.append(&ids(position, first..first + 25_000)));
        while archive.has_to_merge() {
            archive.merge(100_000);
        }
    }
    let status = archive.status(0, 0);
    assert_eq!(status.position.entries, 1_000_000);
    assert_eq!(status.runs, 9);
    assert!(status.bytes <= 28_000_000, "{}", status.bytes);
    let asked: Vec<_> = (0..1_010_000).step_by(997).map(id).collect();
    let found = archive
        .look_up(Principal::anonymous(), &asked)
        .unwrap()
        .found;
    assert_eq!(found.iter().flatten().count(), 1_000_000usize.div_ceil(997));
}
