//! A golden dump: the memory of an outbox as each released layout wrote it, opened and gone on with by today's code.
//!
//! Whoever changes the layout writes the new dump once, by hand:
//!
//! ```text
//! UPDATE_LAYOUT=1 cargo test -p idempotency-core --features outbox --lib outbox::tests::golden
//! ```

use super::{
    super::{MessageId, Policy, Request, Status},
    world::{World, answer, timed_out},
};
use crate::table::dump::{dumped, loaded};
use std::{fmt::Write as _, fs, path::PathBuf, time::Duration};

const SECOND: Duration = Duration::from_secs(1);
/// Messages of the story have numbers below this.
const NUMBERS: u64 = 2_200;

fn file(name: &str) -> PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/outbox/tests/layouts");
    PathBuf::from(directory).join(name)
}

fn policy() -> Policy {
    Policy::new().in_flight(2)
}

/// Messages in all states, some in lanes and scopes, before and after an upgrade.
fn story() -> World {
    let mut world = World::new(policy(), true);
    let post = |number: u32| {
        Request::post(format!("https://shop{}.example/{number}", number % 3))
            .header("Content-Type", "text/plain")
            .body(vec![number as u8; 40 * number as usize])
            .max_response_bytes(500)
            .about(number.to_le_bytes())
    };
    for number in 0..6 {
        world.send(post(number)).unwrap();
    }
    world
        .send(
            post(6)
                .without_idempotency_key()
                .verify(Request::get("https://shop.example/6")),
        )
        .unwrap();
    for answered in [
        answer(200, "done"),
        answer(400, "refused"),
        timed_out(),
        answer(200, ""),
    ] {
        world.pass(SECOND);
        world.answer(0, answered);
    }
    world.upgrade();
    world.pass(100 * SECOND);
    for number in 7..12 {
        world
            .send(post(number).lane("lane").scope("scope").max_attempts(7))
            .unwrap();
    }
    // A body over several segments.
    world.send(post(12).body(vec![3; 150_000])).unwrap();
    world.pass(SECOND);
    world.answer(0, answer(500, "busy"));
    world.pass(SECOND);
    world
}

/// What the outbox says of all that the story is about.
fn answers(world: &World) -> String {
    let mut text = String::new();
    let overview = world.overview();
    let counts = [
        overview.waiting,
        overview.dead_letters,
        overview.messages,
        overview.bytes,
    ];
    writeln!(text, "{counts:?}, {:?}", world.dead_letters()).unwrap();
    for number in 0..NUMBERS {
        let id = MessageId::from_u64(number);
        match world.status(id) {
            None => {}
            // The heap that had it under way has gone.
            Some(Status::UnderWay { attempts }) => {
                writeln!(text, "{id}: under way, {attempts}").unwrap()
            }
            Some(status) => writeln!(text, "{id}: {status:?}").unwrap(),
        }
    }
    text
}

#[test]
fn the_story_is_still_told_alike_and_goes_on() {
    let world = story();
    let written = dumped(&world.memory.borrow());
    let said = answers(&world);
    if std::env::var_os("UPDATE_LAYOUT").is_some() {
        fs::write(file("3-outbox.hex"), &written).unwrap();
        fs::write(file("3-outbox.txt"), &said).unwrap();
    }
    let kept = fs::read_to_string(file("3-outbox.hex")).unwrap();
    assert!(written == kept, "the layout has changed: see above");
    let expected = fs::read_to_string(file("3-outbox.txt")).unwrap();
    assert_eq!(said, expected);
    // As another heap finds it.
    let mut world = World::of(loaded(&kept), policy(), world.now());
    assert_eq!(answers(&world), expected);
    for _ in 0..60 {
        world.pass(60 * SECOND);
        while world.under_way() > 0 {
            let is_question = world.outcalls(|outcall| outcall.is_question())[0];
            world.answer(0, answer(200, if is_question { "there" } else { "" }));
        }
        // What an answer to a question says is found out in a message of its own.
        world.pass(SECOND);
        world.upgrade();
    }
    let overview = world.overview();
    assert_eq!((overview.waiting, overview.dead_letters), (0, 1));
}
