//! What stops an import.

use super::*;

/// What stopped an import at its third call.
fn stopped(calls: &[Paid]) -> ImportProblem {
    let error = import_payments(calls, 1_000).expect_err("it stops");
    assert_eq!(counted(error.imported), counts(2, 0, 0));
    assert!(!error.imported.is_complete);
    error.problem
}

#[test]
fn what_contradicts_the_store_stops_the_import_and_changes_nothing() {
    let calls = payments();
    let [first, second, third, fourth] = [&calls[100], &calls[101], &calls[102], &calls[103]];
    assert_eq!(ask_to_settle(102, expiry(third).1, 102, NOW), Ok(1_102));
    let error = import_payments(&[first.clone(), second.clone(), third.clone()], 10);
    let error = error.expect_err("it ran here, with another reply");
    assert_eq!(error.problem, ImportProblem::ReplyDiffers);
    assert_eq!(counted(error.imported), counts(2, 0, 0));
    let text = error.to_string();
    assert!(
        text.starts_with("request 2 of this import can't be imported, identity "),
        "{text}"
    );
    let identity = error.identity.expect("it has one");
    let known = STORE.with(|store| store.guaranteed_until(&identity));
    assert!(
        known.is_ok_and(|known| known.is_some()),
        "it is that of the third"
    );

    let mut other = first.clone();
    other.arguments = Arguments::Whole((Some(100), expiry(first).1, 5));
    let error = import_payments(&[second.clone(), other, fourth.clone()], 10);
    let error = error.expect_err("it has other arguments");
    assert_eq!(error.problem, ImportProblem::ArgumentsDiffer);
    assert_eq!(counted(error.imported), counts(0, 1, 0));

    // Everything is as it was.
    assert_eq!(STORE.with(Store::stats).entries, 3);
    assert_eq!(ask_to_settle(100, expiry(first).1, 100, NOW), Ok(200));
    assert_eq!(ask_to_settle(102, expiry(third).1, 102, NOW), Ok(1_102));
    assert_eq!(
        ask_to_settle(103, expiry(fourth).1, 103, NOW),
        Ok(1_103),
        "it runs"
    );
}

#[test]
fn what_has_not_ended_here_stops_the_import() {
    let attribute = &__idempotent_attribute_of_wait;
    let call = || Executed {
        caller: user(2),
        arguments: Arguments::Whole((5,)),
        executed_at: at(NOW - 1),
        reply: 1,
    };
    let not_ended = ImportProblem::NotEnded { since: at(NOW) };
    {
        let ic = message(attribute, (5,), NOW);
        let run = |(id,)| wait(id);
        let running = serve_async(ic, &STORE, &attribute.endpoint, run, crate::attempt::Nobody);
        let running = pin!(running);
        let poll = running.poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
        let error = import(attribute, [call()], 1).expect_err("it is pending");
        assert_eq!(error.problem, not_ended);
    }
    let error = import(attribute, [call()], 1).expect_err("its outcome is unknown");
    assert_eq!(error.problem, not_ended);
}

#[test]
fn what_could_not_have_run_here_stops_the_import() {
    let of = |call: Paid| {
        let calls = payments();
        let problem = stopped(&[calls[100].clone(), calls[101].clone(), call]);
        STORE
            .with(|store| store.evict(at(u64::MAX), u32::MAX))
            .expect("it is sound");
        problem
    };
    let refused = ImportProblem::Refused;
    let in_future = paid(1, None, NOW + 1);
    assert_eq!(
        of(in_future),
        ImportProblem::ExecutedInFuture { now: at(NOW) }
    );
    let created_in_future = paid(1, Some(NOW + DRIFT + 1), NOW);
    let error = IdempotencyError::CreatedInFuture { now: at(NOW) };
    assert_eq!(of(created_in_future), refused(error));
    let mut without_key = paid(1, None, NOW);
    without_key.arguments = Arguments::Whole((None, None, 1));
    assert_eq!(of(without_key), refused(IdempotencyError::MissingKey));
    let mut of_nobody = paid(1, None, NOW);
    of_nobody.caller = Principal::anonymous();
    assert_eq!(of(of_nobody), refused(IdempotencyError::AnonymousRefused));
    // The edges.
    let edges = [
        paid(1, None, NOW),
        paid(2, Some(NOW + DRIFT), NOW),
        paid(3, None, NOW - HOUR),
        paid(4, None, NOW - HOUR - 1),
        paid(5, Some(NOW - HOUR - DRIFT), NOW - 5),
        paid(6, Some(NOW - HOUR - DRIFT - 1), NOW - 5),
    ];
    let imported = import_payments(&edges, 10).expect("it is imported");
    assert_eq!(counted(imported), counts(4, 0, 2));

    let long = Executed {
        caller: user(1),
        arguments: Arguments::Whole(("item".to_owned(), 1)),
        executed_at: at(NOW),
        reply: "x".repeat(64 << 10),
    };
    let error = import(&__idempotent_attribute_of_order, [long], 1).expect_err("it is too long");
    let problem = ImportProblem::ReplyTooLarge {
        bytes: 10 + (64 << 10),
        max: 64 << 10,
    };
    assert_eq!(error.problem, problem);
}

#[test]
fn a_full_store_stops_the_import_which_goes_on_with_more_room() {
    let calls = &payments()[110..];
    let attribute = &__idempotent_attribute_of_settle_in_small;
    let error = import(attribute, calls.iter().cloned(), 100).expect_err("there is no room");
    assert_eq!(counted(error.imported), counts(3, 0, 0));
    let ImportProblem::Refused(IdempotencyError::Full { .. }) = error.problem else {
        panic!("{error}");
    };
    let rest = calls.iter().skip(error.imported.taken() as usize).cloned();
    let imported =
        import(&__idempotent_attribute_of_settle_later, rest, 100).expect("there is room");
    assert_eq!(counted(imported), counts(7, 0, 0));
    assert_eq!(LATER.with(Store::stats).entries, 10);
}

#[test]
fn what_is_imported_counts_against_the_quota_of_its_scope() {
    let attribute = &__idempotent_attribute_of_settle_within_quota;
    let ask = |id, now| {
        let arguments = (Some(id), None, 5);
        ask((&SHARED, attribute), arguments, now, |(id, at, amount)| {
            settle_within_quota(id, at, amount)
        })
    };
    let begun = import(attribute, [], 1).expect("there is nothing to be wrong");
    assert!(begun.is_complete);
    assert_eq!(ask(1, NOW), Ok(1_005));
    // Backwards, after a request of now: the counter is found by the time of its last use.
    let calls = (2..9).map(|id| paid(id, None, NOW - HOUR / 2 - id * 60 * SECOND));
    let error = import(attribute, calls, 100).expect_err("it is too much for one");
    assert_eq!(counted(error.imported), counts(3, 0, 0));
    let ImportProblem::Refused(IdempotencyError::QuotaExceeded { .. }) = error.problem else {
        panic!("{error}");
    };
    let refused = ask(10, NOW);
    assert!(
        matches!(refused, Err(IdempotencyError::QuotaExceeded { .. })),
        "{refused:?}"
    );
    let mut of_another = paid(2, None, NOW);
    of_another.caller = user(2);
    let imported = import(attribute, [of_another], 1).expect("it is another's");
    assert_eq!(counted(imported), counts(1, 0, 0));
    // The three expire half an hour before the first.
    let reach = HOUR + 2 * DRIFT;
    let later = NOW + HOUR / 2 + reach / 6 + PARTITION;
    for id in [11, 12, 13] {
        assert_eq!(ask(id, later), Ok(1_005));
    }
    let refused = ask(14, later);
    assert!(
        matches!(refused, Err(IdempotencyError::QuotaExceeded { .. })),
        "{refused:?}"
    );
}
