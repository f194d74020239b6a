//! What a call costs in wall time: no Nagle stalls, and little work of our own.

use std::time::{Duration, Instant};

use crate::world::{pocket_ic, puppet, update};

#[test]
fn thousand_updates() {
    const CALLS: u32 = 1_000;
    let pic = pocket_ic();
    let id = puppet(&pic);
    let start = Instant::now();
    for _ in 0..CALLS {
        update(&pic, id, "inc").unwrap();
    }
    let each = start.elapsed() / CALLS;
    println!("{each:?} for an update call: two requests and one round");
    assert!(each < Duration::from_millis(20), "{each:?}");
}
