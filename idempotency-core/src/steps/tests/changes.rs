//! Code that has changed since a request recorded its steps: what it must not go on with is parked, with a remedy.

use super::{
    super::Steps,
    refusals::{finished, parked},
    world::World,
};
use futures_util::future::join;
use serde::{Deserialize, Serialize};
use std::time::Duration;

type Result<T = ()> = std::result::Result<T, String>;

/// What code before an upgrade recorded, and what the new code does.
#[track_caller]
fn changed<A: std::fmt::Debug + 'static, B: std::fmt::Debug + 'static>(
    old: impl AsyncFnOnce(World, Steps) -> Result<A> + 'static,
    new: impl AsyncFnOnce(World, Steps) -> Result<B> + 'static,
) -> String {
    let world = World::new();
    let _ = finished(&world, old);
    let (entries, effects) = (world.entries(), world.effects());
    let reason = parked(&world, new);
    assert_eq!(world.entries(), entries);
    assert_eq!(world.effects(), effects);
    assert!(reason.contains("steps.version(\"v2\")"), "{reason}");
    reason
}

async fn two(world: &World, steps: &Steps, names: [&'static str; 2]) -> Result<u64> {
    let mut sum = 0;
    for name in names {
        sum += steps.run(name, || world.call(name)).await;
    }
    Ok(sum)
}

#[test]
fn another_order() {
    let old = async |world: World, steps: Steps| two(&world, &steps, ["a", "b"]).await;
    let branch = "where the code has changed since, branch with `steps.version(\"v2\")`";
    let reason = changed(old, async |world: World, steps: Steps| {
        two(&world, &steps, ["b", "a"]).await
    });
    assert_eq!(
        reason,
        format!(
            "the code now begins step \"b\", and entry 0 of the journal is step \"a\"; {branch}"
        )
    );
    let reason = changed(old, async |_, steps: Steps| {
        steps.sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    assert!(
        reason.starts_with("the code now begins `steps.sleep(…)`, and entry 0"),
        "{reason}"
    );
    let reason = changed(old, async |_, steps: Steps| Ok(steps.now()));
    assert!(
        reason.starts_with("the code now begins `steps.now()`, and entry 0"),
        "{reason}"
    );
    let reason = changed(old, async |_, steps: Steps| Ok(steps.random().await));
    assert!(
        reason.starts_with("the code now begins `steps.random()`, and entry 0"),
        "{reason}"
    );
    let reason = changed(old, async |world: World, steps: Steps| {
        Ok(steps.run("a", || world.call("a")).await)
    });
    assert_eq!(
        reason,
        format!(
            "the method ended without coming to step \"b\", which is entry 2 of the journal; {branch}"
        )
    );
}

#[test]
fn a_step_that_is_no_more_beside_another() {
    let old = async |world: World, steps: Steps| {
        join(
            steps.run("a", || world.call("a")),
            steps.run("b", || world.call("b")),
        )
        .await;
        Ok(())
    };
    let reason = changed(old, async |world: World, steps: Steps| {
        Ok(steps.run("a", || world.call("a")).await)
    });
    assert!(
        reason.starts_with("the code waits without coming to step \"b\", which is entry 1"),
        "{reason}"
    );
    let reason = changed(old, async |world: World, steps: Steps| {
        let one = async {
            steps.run("a", || world.call("a")).await;
            steps.run("c", || world.call("c")).await
        };
        join(one, steps.run("b", async || 2u64)).await;
        Ok(())
    });
    assert!(
        reason.starts_with(
            "the code now begins step \"c\", and entry 3 of the journal is the end of step \"b\""
        ),
        "{reason}"
    );
}

#[test]
fn an_error_that_is_none_any_more() {
    let old = async |world: World, steps: Steps| {
        let world = world.clone();
        let _ = steps.compensate("a", async move || {
            world.effect("undo");
            Ok(())
        });
        Err::<u64, _>("no".to_owned())
    };
    let reason = changed(old, async |_, _| Ok(1));
    assert!(
        reason.starts_with("the method ended without coming to step \"undo a\""),
        "{reason}"
    );
}

#[test]
fn another_type() {
    let old = async |_, steps: Steps| Ok(steps.run("a", async || "secret".to_owned()).await);
    let reason = changed(old, async |_, steps: Steps| {
        Ok(steps.run("a", async || 5u64).await)
    });
    assert!(
        reason.starts_with("the recorded result of step \"a\" is not of the type"),
        "{reason}"
    );
    assert!(!reason.contains("secret"));
    // More fields than are expected are none of another type, as serde says; fewer are.
    #[derive(Debug, Deserialize, Serialize)]
    struct One {
        one: u8,
    }
    #[derive(Debug, Deserialize, Serialize)]
    struct Two {
        one: u8,
        two: u8,
    }
    let one = async |_, steps: Steps| Ok(steps.run("a", async || One { one: 1 }).await.one);
    let two = async |_, steps: Steps| Ok(steps.run("a", async || Two { one: 1, two: 2 }).await.two);
    changed(one, two);
    let world = World::new();
    assert_eq!(finished(&world, two), Ok(2));
    assert_eq!(finished(&world, one), Ok(1));
}
