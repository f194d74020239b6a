//! What is imported is answered, known again and forgotten as if it had run here.

use super::*;

/// Runs it with a store of its own.
fn apart(test: impl FnOnce() + Send + 'static) {
    thread::spawn(test).join().expect("it holds");
}

#[test]
fn a_retry_of_what_was_imported_is_answered_as_if_it_had_run_here() {
    for is_backwards in [false, true] {
        apart(move || {
            let mut calls = payments();
            if is_backwards {
                calls.reverse();
            }
            let live = calls.iter().filter(|call| expiry(call).2 >= NOW).count() as u64;
            let imported = import_payments(&calls, 1_000).expect("it is imported");
            assert_eq!(counted(imported), counts(live, 0, 120 - live));
            assert!(imported.is_complete && 0 < live && live < 120);

            let mut calls: Vec<_> = calls.iter().map(expiry).collect();
            calls.sort_by_key(|(_, _, expires_at)| *expires_at);
            for (id, created_at, expires_at) in calls {
                if expires_at < NOW {
                    let answer = ask_to_settle(id, created_at, id, NOW);
                    let too_old = created_at.map(|_| Err(IdempotencyError::TooOld));
                    assert_eq!(
                        answer,
                        too_old.unwrap_or(Ok(1_000 + id)),
                        "{id} has expired"
                    );
                    continue;
                }
                assert_eq!(
                    ask_to_settle(id, created_at, id, expires_at),
                    Ok(100 + id),
                    "{id}"
                );
                let other = ask_to_settle(id, created_at, id + 1, expires_at);
                assert_eq!(other, Err(IdempotencyError::KeyReused), "{id}");
            }
        });
    }
}

/// The partitions of what comes later in the import are there, whatever runs meanwhile.
#[test]
fn what_is_imported_is_forgotten_in_time() {
    let calls = payments();
    let begun = import_payments(&calls, 1).expect("it is imported");
    assert_eq!((begun.taken(), begun.is_complete), (1, false));
    assert_eq!(ask_to_settle(1_000, None, 0, NOW), Ok(1_000));
    import_payments(&calls, 1_000).expect("it is imported");
    for call in &calls {
        let (id, created_at, expires_at) = expiry(call);
        let handle = endpoint!(settle).of(user(1));
        let until = handle.guaranteed_until(&Some(id)).expect("it is sound");
        let until = until.map(Timestamp::as_nanos);
        match expires_at < NOW {
            true => assert_eq!(until, None),
            false => assert!(
                until.is_some_and(|until| (expires_at..=expires_at + PARTITION).contains(&until)),
                "{id} {created_at:?}"
            ),
        }
    }
    let (id, created_at, expires_at) = expiry(&calls[117]);
    assert!(created_at.is_some());
    let late = ask_to_settle(id, created_at, id, expires_at + 2 * PARTITION);
    assert_eq!(
        late,
        Ok(100 + id),
        "one partition goes with each new request"
    );
    let evicted = STORE.with(|store| store.evict(at(expires_at + 2 * PARTITION), u32::MAX));
    assert!(evicted.is_ok_and(|evicted| evicted > 0));
    let late = ask_to_settle(id, created_at, id, expires_at + 2 * PARTITION);
    assert_eq!(late, Err(IdempotencyError::TooOld));
}

#[test]
fn a_second_import_changes_nothing() {
    let calls = &payments()[90..];
    let first = import_payments(calls, 1_000).expect("it is imported");
    assert_eq!(counted(first), counts(30, 0, 0));
    let stats = STORE.with(Store::stats);
    let second = import_payments(calls, 1_000).expect("it is imported");
    assert_eq!(counted(second), counts(0, 30, 0));
    assert_eq!(STORE.with(Store::stats), stats);
    // What ran here is known, too.
    assert_eq!(ask_to_settle(500, None, 5, NOW), Ok(1_005));
    let ran = Executed {
        caller: user(1),
        arguments: Arguments::Whole((Some(500), None, 5)),
        executed_at: at(NOW - SECOND),
        reply: Ok(1_005),
    };
    let imported = import_payments(&[ran], 1).expect("it agrees");
    assert_eq!(counted(imported), counts(0, 1, 0));
}

#[test]
fn an_import_goes_on_where_an_upgrade_came_between() {
    // Backwards: each has an earlier time than all before it in its partition.
    let calls: Vec<_> = payments().into_iter().skip(80).rev().collect();
    let before = import_payments(&calls, 17).expect("it is imported");
    assert_eq!(counted(before), counts(17, 0, 0));
    assert!(!before.is_complete);
    // The first use of the other store opens the memory anew.
    let attribute = &__idempotent_attribute_of_settle_later;
    let after = import(attribute, calls.iter().cloned(), 1_000).expect("it is imported");
    assert_eq!(counted(after), counts(23, 17, 0));
    for (id, created_at, _) in calls.iter().map(expiry) {
        let arguments = (Some(id), created_at, id);
        let answer = ask((&LATER, attribute), arguments, NOW, |(id, at, amount)| {
            settle_later(id, at, amount)
        });
        assert_eq!(answer, Ok(100 + id));
    }
}

#[test]
fn a_call_whose_arguments_are_kept_in_part_is_known_by_its_key() {
    let mut in_part = paid(1, Some(NOW - HOUR), NOW - 5);
    in_part.arguments = Arguments::InPart((Some(1), Some(NOW - HOUR), 0));
    for counts_to in [counts(1, 0, 0), counts(0, 1, 0)] {
        let imported = import_payments(std::slice::from_ref(&in_part), 1);
        assert_eq!(imported.map(counted), Ok(counts_to));
    }
    assert_eq!(ask_to_settle(1, Some(NOW - HOUR), 77, NOW), Ok(101));
    let later = ask_to_settle(1, Some(NOW), 77, NOW);
    assert_eq!(
        later,
        Err(IdempotencyError::KeyReused),
        "it would outlive its record"
    );
    // It ran here, with arguments that the import does not know.
    assert_eq!(ask_to_settle(2, None, 5, NOW), Ok(1_005));
    in_part.arguments = Arguments::InPart((Some(2), None, 0));
    in_part.reply = Ok(1_005);
    let imported = import_payments(&[in_part], 1);
    assert_eq!(imported.map(counted), Ok(counts(0, 1, 0)));
}

#[test]
fn arguments_as_the_key_and_arguments_that_are_no_candid() {
    let attribute = &__idempotent_attribute_of_order;
    let call = Executed {
        caller: user(1),
        arguments: Arguments::Whole(("book".to_owned(), 2)),
        executed_at: at(NOW - 1),
        reply: "old book".to_owned(),
    };
    let imported = import(attribute, [call], 1);
    assert_eq!(imported.map(counted), Ok(counts(1, 0, 0)));
    let order = |count| {
        let arguments = ("book".to_owned(), count);
        ask((&STORE, attribute), arguments, NOW, |(item, count)| {
            order(item, count)
        })
    };
    assert_eq!(
        (order(2), order(3)),
        ("old book".into(), "3 new book".into())
    );

    let attribute = &__idempotent_attribute_of_raw;
    let call = |arguments| Executed {
        caller: user(1),
        arguments,
        executed_at: at(NOW - 1),
        reply: 9,
    };
    let error = import(attribute, [call(Arguments::Whole((3,)))], 1);
    let problem = error.map_err(|error| error.problem);
    assert_eq!(problem, Err(ImportProblem::ArgumentsNotCandid));
    let imported = import(attribute, [call(Arguments::InPart((3,)))], 1);
    assert_eq!(imported.map(counted), Ok(counts(1, 0, 0)));
    let ic = Native::default();
    ic.pass(Duration::from_nanos(NOW));
    let message = Message {
        caller: user(1),
        deadline: 0,
        instructions: 0,
        method: "raw",
        argument: b"abc".to_vec(),
    };
    ic.enter(Stage::First, message);
    serve(&ic, &&STORE, &attribute.endpoint, |(length,)| raw(length));
    let reply = ic.take_reply().expect("it is answered");
    assert!(candid::decode_one(&reply).is_ok_and(|reply: u64| reply == 9));
}

/// With the old check in front, a retry gets one answer before, during and after the import.
#[test]
fn a_retry_while_the_import_is_not_complete_is_the_duplicate_that_it_was() {
    let attribute = &__idempotent_attribute_of_transfer;
    let calls = (0..10).map(|id| Executed {
        caller: user(1),
        arguments: Arguments::Whole((id,)),
        executed_at: at(NOW - 1),
        reply: Ok(50 + id),
    });
    SEEN.with_borrow_mut(|seen| seen.extend((0..10).map(|id| ((user(1), id), 50 + id))));
    let ask = |id| ask((&STORE, attribute), (id,), NOW, |(id,)| transfer(id));
    for round in 0..=5 {
        for id in 0..10 {
            assert_eq!(ask(id), Err(TransferError::Duplicate(50 + id)), "{round}");
        }
        let imported = import(attribute, calls.clone().skip(2 * round), 2);
        let imported = imported.expect("no retry got in its way");
        assert_eq!(imported.is_complete, round == 5);
    }
    SEEN.take();
    assert_eq!(ask(3), Err(TransferError::Duplicate(53)));
    assert_eq!(
        (ask(10), ask(10)),
        (Ok(7), Err(TransferError::Duplicate(7)))
    );
}

#[test]
fn a_call_whose_reply_the_store_has_dropped_is_known() {
    let attribute = &__idempotent_attribute_of_report;
    let ic = message(attribute, (5,), NOW);
    let run = |(id,)| report(id);
    let call = serve_async(
        ic,
        &SHARED,
        &attribute.endpoint,
        run,
        crate::attempt::Nobody,
    );
    let call = pin!(call);
    let poll = call.poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_ready());
    let call = |id, reply: &str| Executed {
        caller: user(1),
        arguments: Arguments::Whole((id,)),
        executed_at: at(NOW),
        reply: reply.to_owned(),
    };
    let imported = import(attribute, [call(5, "any"), call(6, "any")], 2);
    assert_eq!(imported.map(counted), Ok(counts(1, 1, 0)));
}

#[test]
fn what_a_retry_gets_is_made_when_a_call_is_imported() {
    let attribute = &__idempotent_attribute_of_transfer;
    let transfer_again = |id| ask((&STORE, attribute), (id,), NOW, |(id,)| transfer(id));
    let import_one = |id, block| import(attribute, [transferred(id, block)], 9);
    for expected in [counts(1, 0, 0), counts(0, 1, 0)] {
        assert_eq!(import_one(1, 5).map(counted), Ok(expected));
        let retry = transfer_again(1);
        assert_eq!(retry, Err(TransferError::Duplicate(5)));
    }
    // What ran here, and what its first caller was told.
    assert_eq!(transfer_again(2), Ok(7));
    assert_eq!(import_one(2, 7).map(counted), Ok(counts(0, 1, 0)));
    for (id, block) in [(1, 6), (2, 6)] {
        let differs = import_one(id, block).map_err(|error| error.problem);
        assert_eq!(differs, Err(ImportProblem::ReplyDiffers));
    }
    // An upgrade takes `on_replay` away.
    let attribute = &__idempotent_attribute_of_transfer_plainly;
    let retry = ask((&LATER, attribute), (1,), NOW, |(id,)| transfer_plainly(id));
    assert_eq!(retry, Err(TransferError::Duplicate(5)));
}

#[test]
fn what_was_imported_before_on_replay_is_known_and_mapped_with_it() {
    let attribute = &__idempotent_attribute_of_transfer_plainly;
    let imported = import(attribute, [transferred(1, 5)], 9);
    assert_eq!(imported.map(counted), Ok(counts(1, 0, 0)));
    let retry = ask((&LATER, attribute), (1,), NOW, |(id,)| transfer_plainly(id));
    assert_eq!(retry, Ok(5));
    // The first use of the other store opens the memory anew.
    let attribute = &__idempotent_attribute_of_transfer;
    let imported = import(attribute, [transferred(1, 5)], 9);
    assert_eq!(imported.map(counted), Ok(counts(0, 1, 0)));
    let retry = ask((&STORE, attribute), (1,), NOW, |(id,)| transfer(id));
    assert_eq!(retry, Err(TransferError::Duplicate(5)));
}
