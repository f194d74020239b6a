//! The time of a message doesn't depend on the memory it leaves alone.
#![forbid(unsafe_code)]

#[path = "../examples/speed/measure.rs"]
mod measure;

use std::time::Duration;

use measure::{Subject, compilations, large_module};

const MB: u64 = 1 << 20;

#[test]
fn a_message_costs_what_it_does_and_not_what_the_canister_holds() {
    let subject =
        |heap: u64, stable: u64| Subject::new(heap * MB, stable * MB).expect("a canister");
    let mut small = subject(0, 0);
    for (heap, stable) in [(100, 0), (0, 1_024)] {
        let mut large = subject(heap, stable);
        for method in ["nothing", "touch"] {
            let before = small.message(method).expect("an answer");
            let after = large.message(method).expect("an answer");
            println!(
                "{method}: {before:?}; with {heap} MB of heap and {stable} MB of stable memory {after:?}"
            );
            assert!(after < before * 3, "{method}: {after:?}, not {before:?}");
            assert!(after < Duration::from_micros(100), "{method}: {after:?}");
        }
    }
}

#[test]
fn a_module_is_compiled_once() {
    let (first, second) = compilations(&large_module());
    println!("{first:?}, then {second:?}");
    assert!(second * 5 < first, "{first:?}, then {second:?}");
}
