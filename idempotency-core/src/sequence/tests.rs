//! A lane beside a plain set of the numbers that were used.

use super::{LONGEST_LAST, Lane, Last, MOST_IN_FLIGHT};
use crate::{
    error::IdempotencyError,
    identity::{ArgumentIs, Digest, Fingerprint},
    time::Timestamp,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What a lane stands for.
#[derive(Debug)]
struct Model {
    max_in_flight: u16,
    first: u64,
    first_incomplete: u64,
    used: BTreeSet<u64>,
    /// When the last number began.
    begun: u64,
}

impl Model {
    fn new(floor: u64) -> Self {
        Self {
            max_in_flight: 1,
            first: floor,
            first_incomplete: floor,
            used: BTreeSet::new(),
            begun: 0,
        }
    }

    fn is_used(&self, number: u64) -> bool {
        number < self.first || self.used.contains(&number)
    }

    fn first_unused(&self) -> u64 {
        (self.first..=u64::MAX)
            .find(|number| !self.is_used(*number))
            .unwrap()
    }

    fn next(&self) -> u64 {
        match self.max_in_flight {
            1 => self.first,
            _ => self.first_unused(),
        }
    }

    fn admit(&self, number: u64) -> Result<(), IdempotencyError> {
        let expected = self.next();
        let end = u128::from(expected) + u128::from(self.max_in_flight);
        if self.is_used(number) {
            Err(IdempotencyError::SequenceTooOld { expected })
        } else if u128::from(number) >= end || number == u64::MAX {
            Err(IdempotencyError::SequenceGap { expected })
        } else {
            Ok(())
        }
    }

    fn begin(&mut self, number: u64, now: u64) {
        if self.max_in_flight > 1 {
            self.first = self.first_unused();
        }
        self.used.insert(number);
        self.begun = now;
    }

    fn with_max_in_flight(&mut self, max_in_flight: u16) {
        if self.max_in_flight > 1 && max_in_flight == 1 {
            self.first = self.first_unused();
        }
        self.max_in_flight = max_in_flight;
    }

    /// The number that a strict lane waits for, and since when.
    fn stuck(&self) -> Option<(u64, u64)> {
        (self.max_in_flight == 1 && self.used.contains(&self.first))
            .then_some((self.first, self.begun))
    }

    /// A strict lane waits for its number, and no other.
    fn end(&mut self, number: u64) {
        if self.max_in_flight > 1 || number == self.first {
            self.first = self.first_unused();
        }
    }
}

/// A lane as it is read again after it was written, to as few bytes as it takes.
fn stored(lane: &Lane) -> Lane {
    let mut bytes = vec![0xAA; lane.bytes(None)];
    lane.write(None, &mut bytes);
    let mut read = Lane::new(7);
    assert_eq!(read.read(&bytes), Some(()));
    assert_eq!(read.last(), None);
    read
}

#[derive(Clone, Debug)]
enum Op {
    /// A number that far from the next one, and what comes of it if it may run.
    Use(i64, Fate),
    MaxInFlight(u16),
    /// All below a number that far from the next one were received.
    Acked(i64),
    Store,
}

#[derive(Clone, Debug)]
enum Fate {
    Ends,
    Released,
    /// It has not ended, or never will.
    Pending,
    /// The number that has been pending for the longest ends, too.
    EndsAnother,
    /// It never ends, and whoever waits for it is freed.
    Freed,
}

fn limits() -> impl Strategy<Value = u16> {
    prop_oneof![
        prop::sample::select(vec![1, 1, 2, 3, 63, 64, 65, 128, MOST_IN_FLIGHT]),
        1..=MOST_IN_FLIGHT
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let fate = prop::sample::select(vec![
        Fate::Ends,
        Fate::Ends,
        Fate::Ends,
        Fate::Released,
        Fate::Pending,
        Fate::EndsAnother,
        Fate::Freed,
    ]);
    let offset = prop_oneof![4 => Just(0), 4 => 0..4i64, 4 => 0..70i64, 1 => -70..1_100i64];
    let op = prop_oneof![
        40 => (offset, fate).prop_map(|(offset, fate)| Op::Use(offset, fate)),
        1 => limits().prop_map(Op::MaxInFlight),
        3 => (-3..3i64).prop_map(Op::Acked),
        1 => Just(Op::Store),
    ];
    prop::collection::vec(op, 1..300)
}

fn check(floor: u64, max_in_flight: u16, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut lane = Lane::new(floor).with_max_in_flight(max_in_flight);
    let mut model = Model {
        max_in_flight,
        ..Model::new(floor)
    };
    let mut pending = vec![];
    for (now, op) in (1..).zip(ops) {
        match *op {
            Op::Use(offset, ref fate) => {
                let number = model.next().saturating_add_signed(offset);
                let admitted = lane.admit(number);
                prop_assert_eq!(&admitted, &model.admit(number), "{}", number);
                if admitted.is_err() {
                    continue;
                }
                let at = Timestamp::from_nanos(now);
                let mut passed = lane.clone();
                passed.pass(number, at);
                lane.begin(number, at);
                model.begin(number, now);
                prop_assert!(lane.unused_from() > number);
                match fate {
                    Fate::Released => {
                        lane.release(number);
                        model.used.remove(&number);
                    }
                    Fate::Pending => pending.push(number),
                    Fate::Ends => {
                        lane.end(number);
                        model.end(number);
                        prop_assert_eq!(&lane, &passed);
                    }
                    Fate::EndsAnother => {
                        pending.push(number);
                        let ended = pending.remove(0);
                        lane.end(ended);
                        model.end(ended);
                    }
                    Fate::Freed => {
                        if let Some((number, _)) = model.stuck() {
                            lane.end(number);
                            model.end(number);
                        }
                        prop_assert_eq!(model.stuck(), None);
                    }
                }
            }
            Op::MaxInFlight(max_in_flight) => {
                lane = lane.with_max_in_flight(max_in_flight);
                model.with_max_in_flight(max_in_flight);
            }
            Op::Acked(offset) => {
                let received = model.next().saturating_add_signed(offset);
                let expected = (model.first_incomplete < received.min(model.first))
                    .then_some(model.first_incomplete);
                model.first_incomplete += u64::from(expected.is_some());
                prop_assert_eq!(lane.let_go(received), expected);
            }
            Op::Store => lane = stored(&lane),
        }
        prop_assert_eq!(lane.next(), model.next());
        for number in [model.first, model.first.saturating_add(1)] {
            let stuck = model.stuck().filter(|(at, _)| *at == number);
            let since = stuck.map(|(_, since)| Timestamp::from_nanos(since));
            prop_assert_eq!(lane.stuck_since(number), since);
        }
        prop_assert_eq!(&lane, &stored(&lane));
        let unused_from = model
            .used
            .last()
            .map_or(0, |last| last + 1)
            .max(model.first);
        prop_assert_eq!(lane.unused_from(), unused_from);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: if cfg!(miri) { 10 } else { ProptestConfig::default().cases },
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_lane_is_a_set_of_numbers(
        floor in prop_oneof![Just(0), 0..200u64, u64::MAX - 1_200..=u64::MAX],
        max_in_flight in limits(),
        ops in ops(),
    ) {
        check(floor, max_in_flight, &ops)?;
    }
}

fn gap(expected: u64) -> Result<(), IdempotencyError> {
    Err(IdempotencyError::SequenceGap { expected })
}

fn too_old(expected: u64) -> Result<(), IdempotencyError> {
    Err(IdempotencyError::SequenceTooOld { expected })
}

const NOW: Timestamp = Timestamp::from_nanos(7);

#[test]
fn each_window_takes_as_many_numbers_as_it_is_wide() {
    for max_in_flight in [1, 2, 63, 64, 65, 1_023, MOST_IN_FLIGHT] {
        let mut lane = Lane::new(0).with_max_in_flight(max_in_flight);
        let width = u64::from(max_in_flight);
        for number in (0..width).rev() {
            assert_eq!(lane.admit(number), Ok(()), "{number} of {max_in_flight}");
            assert_eq!(
                lane.admit(number + width),
                gap(0),
                "{number} of {max_in_flight}"
            );
            if number > 0 {
                lane.begin(number, NOW);
                assert_eq!(
                    lane.admit(number),
                    too_old(0),
                    "{number} of {max_in_flight}"
                );
            }
        }
        // All but the first are used: it was lost, and now comes.
        assert_eq!(lane.admit(width), gap(0), "{max_in_flight}");
        lane.begin(0, NOW);
        lane.end(0);
        assert_eq!(lane.next(), width);
        assert_eq!(lane.admit(0), too_old(width));
        assert_eq!(lane.admit(2 * width - 1), Ok(()));
        assert_eq!(lane.admit(2 * width), gap(width));
        assert_eq!(lane.unused_from(), width);
    }
}

#[test]
fn the_numbers_end_before_the_last_one() {
    for max_in_flight in [1, 2, 64, MOST_IN_FLIGHT] {
        let mut lane = Lane::new(u64::MAX - 2).with_max_in_flight(max_in_flight);
        for number in [u64::MAX - 2, u64::MAX - 1] {
            lane.begin(number, NOW);
            lane.end(number);
        }
        // A floor above it could not be told.
        assert_eq!(lane.admit(u64::MAX), gap(u64::MAX), "{max_in_flight}");
        assert_eq!(lane.admit(u64::MAX - 1), too_old(u64::MAX));
        assert_eq!(lane.unused_from(), u64::MAX);
    }
}

/// A lane that was forgotten and begins anew may still see a number end that ran before.
#[test]
fn a_strict_lane_waits_for_its_own_number() {
    let mut lane = Lane::new(5).with_max_in_flight(1);
    lane.begin(5, NOW);
    lane.end(3);
    assert_eq!(lane.admit(6), gap(5));
    lane.end(5);
    assert_eq!(lane.admit(6), Ok(()));
}

fn digest(byte: u8) -> Option<Digest> {
    Digest::from_bytes([byte; 16])
}

/// A lane with the record of its last number.
fn with_last(fingerprint: Fingerprint, reply: &[u8]) -> (Lane, Vec<u8>) {
    let mut lane = Lane::new(41);
    lane.pass(41, NOW);
    assert!(lane.may_hold(41));
    let last = Last::new(fingerprint, reply, true).expect("it is short enough");
    let mut bytes = vec![0xAA; lane.bytes(Some(&last))];
    lane.write(Some(&last), &mut bytes);
    (lane, bytes)
}

#[test]
fn a_record_in_a_lane_is_read_as_it_was_written() {
    use ArgumentIs::{Alias, AliasOnly, Itself};
    for (argument, argument_is) in [(1, Itself), (1, Alias), (1, AliasOnly), (0, Itself)] {
        for chosen in [0, 2] {
            let fingerprint = Fingerprint {
                argument: digest(argument),
                argument_is,
                chosen: digest(chosen),
            };
            let most = if chosen == 0 { 64 } else { 48 };
            assert_eq!(Last::new(fingerprint, &vec![7; most + 1], false), None);
            for length in 0..=most {
                let reply = vec![7; length];
                let (lane, bytes) = with_last(fingerprint, &reply);
                assert!(bytes.len() <= LONGEST_LAST && bytes.len().is_multiple_of(8));
                // What stands after it is not a part of it.
                for more in [0, 8, 100] {
                    let bytes = [&bytes[..], &vec![0; more]].concat();
                    let mut read = Lane::new(7);
                    assert_eq!(read.read(&bytes), Some(()));
                    assert_eq!((read.last(), read.last_since()), (Some(41), NOW));
                    assert_eq!((read.next(), read.unused_from()), (42, 42));
                    let expected = Last {
                        fingerprint,
                        reply: &reply,
                        is_for_retries: true,
                    };
                    assert_eq!(read.read_last(&bytes), Some(expected));
                    assert_eq!(lane.next(), read.next());
                }
            }
        }
    }
}

#[test]
fn a_number_that_begins_takes_the_record_of_the_one_before_with_it() {
    let (_, bytes) = with_last(Fingerprint::default(), b"reply");
    let mut lane = Lane::new(7);
    assert_eq!(lane.read(&bytes), Some(()));
    lane.set_max_in_flight(64);
    assert_eq!(lane.last(), Some(41), "no number has begun");
    lane.set_max_in_flight(1);
    lane.begin(42, NOW);
    assert_eq!((lane.last(), lane.read_last(&bytes)), (None, None));
}

#[test]
fn a_lane_that_contradicts_itself_is_damaged() {
    let (_, sound) = with_last(Fingerprint::default(), b"reply");
    let with = |at: usize, byte: u8| {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        bytes
    };
    let mut lane = Lane::new(7);
    assert_eq!(lane.read(&with(0, 2)), None, "a pipelined lane has none");
    let first = [&sound[..8], &[0; 8], &sound[16..]].concat();
    assert_eq!(lane.read(&first), None, "nor has one that was never used");
    for length in 0..32 {
        assert_eq!(lane.read(&sound[..length]), None);
    }
    for bytes in [with(3, 255), sound[..40].to_vec(), sound[..48].to_vec()] {
        assert_eq!(lane.read(&bytes), Some(()));
        assert_eq!(lane.read_last(&bytes), None);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_lane_or_none(bytes in prop::collection::vec(any::<u8>(), 0..=160), number: u64) {
        let mut lane = Lane::new(0);
        if lane.read(&bytes).is_some() {
            let _ = (lane.read_last(&bytes), lane.last(), lane.admit(number));
            lane.set_max_in_flight(number as u16);
            let _ = (lane.pass(number, NOW), lane.may_hold(number), lane.unused_from());
        }
    }
}
