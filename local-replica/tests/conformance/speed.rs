//! What a call costs in wall time: no Nagle stalls, and little work of our own.

use std::time::{Duration, Instant};

use crate::world::{USER, counter, pocket_ic, puppet, update};

const CALLS: u32 = 1_000;

#[test]
fn thousand_updates() {
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

#[test]
fn thousand_messages_in_a_round() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    for _ in 0..CALLS {
        pic.submit_call(id, USER, "inc", Vec::new()).unwrap();
    }
    let start = Instant::now();
    pic.tick();
    let each = start.elapsed() / CALLS;
    assert_eq!(counter(&pic, id), CALLS);
    println!("{each:?} for a message within a round");
    assert!(each < Duration::from_millis(10), "{each:?}");
}
