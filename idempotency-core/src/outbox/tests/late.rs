//! What comes late, and what must not come again.

use super::{
    super::{Outcome, Policy, Request},
    world::{World, answer, response},
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn post() -> Request {
    Request::post("https://shop.example/orders").max_response_bytes(1_000)
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let world = World::new(Policy::new(), true);
    let id = world.send(post()).unwrap();
    world.pass(SECOND);
    let late = world.lose(0);
    world.pass(5 * MINUTE);
    world.pass_until_sent();
    let before = world.status(id);
    world.answer_late(late, answer(400, "no"));
    assert_eq!(world.status(id), before, "the second attempt is under way");
    world.answer(0, answer(200, "yes"));
    let ended = world.ended(id).unwrap();
    assert_eq!(ended.outcome, Outcome::Acknowledged(response(200, "yes")));
    assert_eq!(ended.attempts, 2);
}

#[test]
fn a_dead_letter_is_told_once() {
    let mut world = World::new(Policy::new(), true);
    let id = world.send(post()).unwrap();
    world.pass(SECOND);
    world.answer(0, answer(400, "no"));
    world.pass(SECOND);
    assert_eq!(World::told().len(), 1);
    for _ in 0..2 {
        world.upgrade();
        world.pass(60 * MINUTE);
        assert_eq!(World::told(), []);
        assert_eq!(world.dead_letters(), [id]);
    }
}
