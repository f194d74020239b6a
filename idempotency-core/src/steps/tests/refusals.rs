//! Where a request is parked: bad use, code that has changed, a journal that is full or damaged.

use super::{
    super::{Ended, Steps, recorded_steps},
    world::World,
};
use futures_util::future::join;
use serde::{Deserialize, Serialize, Serializer, ser::Error};
use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

type Result<T = ()> = std::result::Result<T, String>;

/// Runs an attempt, and gives the reason for which it was parked.
#[track_caller]
pub(super) fn parked<R: std::fmt::Debug + 'static>(
    world: &World,
    body: impl AsyncFnOnce(World, Steps) -> Result<R> + 'static,
) -> String {
    let of_body = world.clone();
    match world.run(move |steps| async move { body(of_body, steps).await }) {
        Ended::Parked { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn finished<R: std::fmt::Debug + 'static>(
    world: &World,
    body: impl AsyncFnOnce(World, Steps) -> Result<R> + 'static,
) -> Result<R> {
    let of_body = world.clone();
    match world.run(move |steps| async move { body(of_body, steps).await }) {
        Ended::Finished(result) => result,
        other => panic!("{other:?}"),
    }
}

/// The names of the steps that began.
fn steps(world: &World) -> Vec<String> {
    let steps = recorded_steps(&world.entries()).into_iter();
    steps.map(|step| step.name).collect()
}

const TWICE: &str = "step \"a\" is used twice in one request; give each step a name of its own, in a loop `(\"name\", i)`";

#[test]
fn a_name_twice() {
    let twice = async |world: World, steps: Steps| {
        steps.run("a", async || world.effect("first")).await;
        steps.run("a", async || world.effect("second")).await;
        Ok(())
    };
    let world = World::new();
    // Resumed, it is the same.
    for _ in 0..2 {
        assert_eq!(parked(&world, twice), TWICE);
        assert_eq!(world.effects().into_keys().collect::<Vec<_>>(), ["first"]);
    }
    // When more is recorded by code that was right.
    let right = async |_, steps: Steps| {
        steps.run("a", async || 5).await;
        steps.run("b", async || 5).await;
        Ok(())
    };
    let world = World::new();
    finished(&world, right).unwrap();
    assert_eq!(parked(&world, twice), TWICE);
}

#[test]
fn a_name_twice_at_once() {
    let world = World::new();
    let twice = async |world: World, steps: Steps| {
        join(
            steps.run("a", || world.call("first")),
            steps.run("a", || world.call("second")),
        )
        .await;
        Ok(())
    };
    assert_eq!(parked(&world, twice), TWICE);
    // What was in flight has ended and is recorded.
    assert!(world.did("first") && !world.did("second"));
    assert!(
        recorded_steps(&world.entries())
            .iter()
            .all(|step| step.has_ended)
    );
}

#[test]
fn names_that_cannot_be_recorded() {
    let long = || "x".repeat(256);
    let reason = "a name of 256 bytes, ";
    let step = async move |_, steps: Steps| Ok(steps.run(long(), async || 1).await);
    assert!(parked(&World::new(), step).starts_with(reason));
    let frozen = async move |_, steps: Steps| Ok(steps.created_at(long()));
    assert!(parked(&World::new(), frozen).starts_with(reason));
    let version = async move |_, steps: Steps| Ok(steps.version(long()));
    assert!(parked(&World::new(), version).starts_with(reason));
    let undo = async move |_, steps: Steps| {
        let _ = steps.compensate("x".repeat(251), async || Ok(()));
        Ok(())
    };
    assert!(parked(&World::new(), undo).starts_with(reason));
    let frozen = async |_, steps: Steps| Ok(steps.created_at(""));
    assert!(parked(&World::new(), frozen).starts_with("a name of 0 bytes"));
    let longest = async |_, steps: Steps| {
        let name = "x".repeat(255);
        steps.created_at(name.clone());
        steps.version(name.clone());
        Ok(steps.run(name, async || 1).await)
    };
    let world = World::new();
    assert_eq!(finished(&world, longest), Ok(1));
    assert_eq!(finished(&world, longest), Ok(1));
}

#[test]
fn a_step_without_a_name() {
    let world = World::new();
    let body =
        async |world: World, steps: Steps| Ok(steps.run("", async || world.effect("a")).await);
    assert!(parked(&world, body).starts_with("a name of 0 bytes"));
    assert!(world.effects().is_empty());
}

#[test]
fn a_step_in_a_step() {
    let world = World::new();
    let body = async |world: World, steps: Steps| {
        let inner = async || {
            world.effect("outer");
            steps.run("inner", async || world.effect("inner")).await
        };
        Ok(steps.run("outer", inner).await)
    };
    let reason = parked(&world, body);
    assert!(
        reason.starts_with("step \"inner\" is used inside the action of a step"),
        "{reason}"
    );
    // The outer one has had an effect, so it is not run again.
    assert_eq!(steps(&world), ["outer"]);
    let reason = parked(&world, body);
    assert!(
        reason.starts_with("nobody knows whether step \"outer\""),
        "{reason}"
    );
    assert_eq!(world.effects().into_values().collect::<Vec<_>>(), [1]);
}

#[test]
fn whatever_keeps_its_order_in_a_step() {
    async fn inside<T: std::fmt::Debug>(
        steps: Steps,
        used: impl AsyncFnOnce(Steps) -> T,
    ) -> Result<u64> {
        let action = async || {
            used(steps.clone()).await;
            1
        };
        Ok(steps.run("outer", action).await)
    }
    let reason = |it: &str| {
        format!(
            "{it} is used inside the action of a step, which is not run again when its result is recorded; use it before the step or after it"
        )
    };
    let check = |used: fn(Steps) -> Pin<Box<dyn Future<Output = ()>>>, it: &str| {
        let world = World::new();
        let body = async move |_, steps: Steps| inside(steps, used).await;
        assert_eq!(parked(&world, body), reason(it));
        assert_eq!(steps(&world), ["outer"]);
    };
    check(
        |steps| Box::pin(async move { steps.sleep(Duration::ZERO).await }),
        "`steps.sleep(…)`",
    );
    check(
        |steps| {
            Box::pin(async move {
                let _ = steps.random().await;
            })
        },
        "`steps.random()`",
    );
    check(
        |steps| {
            Box::pin(async move {
                let _ = steps.now();
            })
        },
        "`steps.now()`",
    );
    check(
        |steps| {
            Box::pin(async move {
                let _ = steps.version("v2");
            })
        },
        "`steps.version(\"v2\")`",
    );
    check(
        |steps| {
            Box::pin(async move {
                let _ = steps.compensate("a", async || Ok(()));
            })
        },
        "`steps.compensate(\"a\", …)`",
    );
    let world = World::new();
    let allowed = async |_, steps: Steps| {
        let used = async |steps: Steps| (steps.key("a"), steps.created_at("a"), steps.caller());
        inside(steps, used).await
    };
    assert_eq!(finished(&world, allowed), Ok(1));
    assert_eq!(finished(&world, allowed), Ok(1));
}

#[test]
fn steps_in_a_task_of_its_own() {
    type Task = Pin<Box<dyn Future<Output = u64>>>;
    let (world, task) = (World::new(), Rc::<RefCell<Option<Task>>>::default());
    let (of_body, spawned) = (world.clone(), Rc::clone(&task));
    let mut attempt = world.begin(move |steps| async move {
        let (elsewhere, of_task) = (steps.clone(), of_body.clone());
        *spawned.borrow_mut() = Some(Box::pin(async move {
            elsewhere.run("b", async || of_task.effect("b")).await
        }));
        Ok(steps.run("a", || of_body.call("a")).await)
    });
    assert_eq!(attempt.message(), None);
    let mut task = task.take().unwrap();
    let poll = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending());
    world.commit();
    world.answer(world.calls()[0]);
    let Some(Ended::Parked { reason }) = attempt.message() else {
        panic!("it goes on");
    };
    assert!(reason.starts_with("steps were used outside of the method's own future"));
    // When the attempt is over, too.
    drop(attempt);
    assert!(
        task.as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    world.commit();
    assert!(!world.effects().contains_key("b"));
    assert_eq!(steps(&world), ["a"]);
}

/// A type that can't be written in CBOR.
#[derive(Debug, Deserialize)]
struct NotCbor;

impl Serialize for NotCbor {
    fn serialize<S: Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(S::Error::custom("secret"))
    }
}

#[test]
fn a_type_that_is_not_cbor() {
    for is_call in [false, true] {
        let world = World::new();
        let body = async move |world: World, steps: Steps| {
            let action = async || {
                match is_call {
                    true => world.call("a").await,
                    false => world.effect("a"),
                };
                NotCbor
            };
            Ok(steps.run("a", action).await)
        };
        let reason = parked(&world, body);
        assert!(
            reason.starts_with("step \"a\" ran, and its result can't be recorded"),
            "{reason}"
        );
        assert!(!reason.contains("secret"));
        // It ran, and does not run again.
        let reason = parked(&world, body);
        assert!(
            reason.starts_with("nobody knows whether step \"a\" took effect"),
            "{reason}"
        );
        assert_eq!(world.effects().into_values().collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn a_full_journal() {
    let body = async |world: World, steps: Steps| {
        steps.run("a", async || world.effect("a")).await;
        steps
            .run("b", || async {
                steps.created_at("inside");
                world.call("b").await;
                [7u8; 32].to_vec()
            })
            .await;
        steps.version("v2");
        steps.now();
        steps.sleep(Duration::ZERO).await;
        steps.random().await;
        Ok(())
    };
    let whole = World::new();
    finished(&whole, body).unwrap();
    for limit in 0..whole.bytes() {
        let world = World::new();
        world.limit(limit);
        let reason = parked(&world, body);
        assert!(reason.contains("raise `max_journal_bytes`"), "{reason}");
        assert!(world.bytes() <= limit);
        // Nothing is done that is not recorded.
        let recorded = steps(&world);
        for name in world.effects().keys().filter(|it| *it != "raw_rand") {
            assert!(recorded.contains(name), "{limit}: {name}, {recorded:?}");
        }
        // The limit is raised: it goes on, except where it ran and its result was not recorded.
        world.limit(usize::MAX);
        let unknown = recorded_steps(&world.entries())
            .iter()
            .any(|step| !step.has_ended);
        match unknown {
            true => assert!(parked(&world, body).starts_with("nobody knows")),
            false => finished(&world, body).unwrap(),
        }
        assert!(world.effects().values().all(|times| *times == 1));
    }
}

#[test]
fn a_damaged_store() {
    let world = World::new();
    let body =
        async |world: World, steps: Steps| Ok(steps.run("a", async || world.effect("a")).await);
    world.damage();
    assert!(parked(&world, body).starts_with("the journal can't be read"));
}

#[test]
fn an_entry_of_a_later_version() {
    let world = World::with(vec![vec![200, 0]]);
    let body =
        async |world: World, steps: Steps| Ok(steps.run("a", async || world.effect("a")).await);
    assert!(parked(&world, body).starts_with("the journal can't be read"));
    assert!(world.effects().is_empty());
    // It is reached in the course of other things, too.
    let world = World::new();
    let fine = async |_, steps: Steps| Ok(steps.run("b", async || 1).await);
    finished(&world, fine).unwrap();
    let world = World::with([world.entries(), vec![vec![]]].concat());
    assert!(parked(&world, fine).starts_with("the journal can't be read"));
}

#[test]
fn a_compensation_that_fails() {
    for is_call in [false, true] {
        let world = World::new();
        let body = async move |world: World, steps: Steps| {
            let of_first = world.clone();
            let _ = steps.compensate("first", async move || {
                of_first.effect("undo first");
                Ok(())
            });
            let _ = steps.compensate("second", async move || {
                match is_call {
                    true => world.call("undo second").await,
                    false => world.effect("undo second"),
                };
                Err("the ledger is gone".to_owned())
            });
            Err::<(), _>("no".to_owned())
        };
        assert_eq!(
            parked(&world, body),
            "step \"undo second\" failed: the ledger is gone"
        );
        let reason = parked(&world, body);
        assert!(
            reason.starts_with("nobody knows whether step \"undo second\""),
            "{reason}"
        );
        assert_eq!(
            world.effects().into_keys().collect::<Vec<_>>(),
            ["undo second"]
        );
    }
}

#[test]
fn a_compensation_twice() {
    let world = World::new();
    let body = async |world: World, steps: Steps| {
        for _ in 0..2 {
            let world = world.clone();
            let _ = steps.compensate("a", async move || {
                world.effect("undo a");
                Ok(())
            });
        }
        Err::<(), _>("no".to_owned())
    };
    assert!(parked(&world, body).starts_with("step \"undo a\" is used twice"));
    assert!(world.effects().is_empty());
}

#[test]
fn a_step_inside_a_verifier() {
    let body = async |world: World, steps: Steps| {
        let verify = async |_| {
            steps.run("b", async || 1).await;
            super::super::Verified::Ran(1)
        };
        Ok(steps.run("a", || world.call("a")).verify(verify).await)
    };
    let world = World::new();
    let of_body = world.clone();
    let mut attempt = world.begin(move |steps| async move { body(of_body, steps).await });
    assert_eq!(attempt.message(), None);
    world.commit();
    world.cut();
    let reason = parked(&world, body);
    assert!(
        reason.starts_with("step \"b\" is used inside the action of a step"),
        "{reason}"
    );
    assert_eq!(steps(&world), ["a"]);
}

#[test]
fn a_method_that_goes_on_after_a_refusal_does_nothing_more() {
    let world = World::new();
    let first = async |_, steps: Steps| Ok(steps.run("a", async || 1).await);
    finished(&world, first).unwrap();
    let reason = parked(&world, async |world: World, steps: Steps| {
        // Refused, but it can't wait.
        steps.now();
        steps.run("a", async || world.effect("again")).await;
        steps.run("b", async || world.effect("b")).await;
        Ok(())
    });
    assert!(
        reason.starts_with("the code now begins `steps.now()`"),
        "{reason}"
    );
    assert!(world.effects().is_empty());
    // Or it ends.
    let reason = parked(&world, async |_, steps: Steps| Ok(steps.now()));
    assert!(
        reason.starts_with("the code now begins `steps.now()`"),
        "{reason}"
    );
}

#[test]
fn what_the_method_cannot_decide() {
    let body = async |world: World, steps: Steps| {
        steps.run("a", async || world.effect("a")).await;
        let of_undo = world.clone();
        let _ = steps.compensate("a", async move || {
            of_undo.effect("undo a");
            Ok(())
        });
        steps.park("ask the ledger").await
    };
    let world = World::new();
    for _ in 0..2 {
        assert_eq!(parked::<()>(&world, body), "ask the ledger");
        assert_eq!(world.effects().into_keys().collect::<Vec<_>>(), ["a"]);
    }
    // What the method decides in an action would not be decided again.
    let within = async |_, steps: Steps| {
        let inner = steps.clone();
        steps.run("a", || inner.park::<()>("no")).await;
        Ok(())
    };
    let reason = parked(&World::new(), within);
    assert!(
        reason.contains("`steps.park(…)` is used inside"),
        "{reason}"
    );
}
