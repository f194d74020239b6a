//! The metrics are such as Prometheus reads.

use super::*;
use std::collections::BTreeSet;

/// A label's value, of a text that begins with it: as it was before it was escaped, and what follows.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text.strip_prefix('"').expect("a value begins").chars();
    loop {
        match rest.next().expect("a value ends") {
            '"' => return (value, rest.as_str()),
            '\\' => value.push(match rest.next() {
                Some('n') => '\n',
                Some(same @ ('"' | '\\')) => same,
                other => panic!("{other:?} is not escaped so"),
            }),
            other => value.push(other),
        }
    }
}

type Series = (String, Vec<(String, String)>);

/// Reads the metrics, and panics where Prometheus would refuse them: each series with its value.
fn parse(text: &str, now: u64) -> Vec<(Series, f64)> {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|it| it.is_ascii_lowercase() || it == '_')
    };
    let (mut types, mut seen, mut series) = (BTreeSet::new(), BTreeSet::new(), vec![]);
    let mut current = String::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (kind, rest) = comment.split_once(' ').unwrap();
            let (name, rest) = rest.split_once(' ').unwrap();
            match kind {
                "HELP" => current = name.to_owned(),
                "TYPE" => {
                    assert!(types.insert(name.to_owned()), "{name} twice");
                    assert_eq!(name, current);
                    assert_eq!(rest == "counter", name.ends_with("_total"));
                    assert!(["counter", "gauge"].contains(&rest));
                }
                other => panic!("{other}"),
            }
            continue;
        }
        let (name, mut rest) = line.split_once('{').expect("every series has labels");
        assert!(is_name(name) && name == current, "{line}");
        let mut labels = vec![];
        while let Some((label, value)) = rest.split_once('=') {
            assert!(is_name(label));
            let (value, after) = unquoted(value);
            labels.push((label.to_owned(), value));
            rest = after;
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        let numbers: Vec<_> = rest
            .strip_prefix("} ")
            .expect("the labels end")
            .split(' ')
            .collect();
        let [value, time] = numbers[..] else {
            panic!("{line}")
        };
        assert_eq!(time.parse(), Ok(now / 1_000_000));
        let value = value.parse::<f64>().unwrap();
        assert!(value.is_finite() && value >= 0.0);
        let one = (name.to_owned(), labels);
        assert!(seen.insert(one.clone()), "{line} twice");
        series.push((one, value));
    }
    series
}

fn metrics(stores: &[(&str, Observation)], now: u64) -> Vec<(Series, f64)> {
    let response = get("/metrics", stores, now);
    assert_eq!(
        header(&response, "Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    parse(&body(&response), now)
}

fn of(metrics: &[(Series, f64)], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let wanted = (name.to_owned(), labels);
    metrics
        .iter()
        .find(|(series, _)| *series == wanted)
        .map(|(_, value)| *value)
}

#[test]
fn each_store_has_each_metric() {
    let (one, other) = (open(VectorMemory::default()), open(VectorMemory::default()));
    for key in 0..3 {
        execute(&one, key, START).unwrap();
    }
    one.count_refusal(&IdempotencyError::TooOld);
    let now = START + 1_500_000_000;
    let all = metrics(
        &[
            ("one", Observation::of(&one)),
            ("other", Observation::of(&other)),
        ],
        now,
    );
    let store = |name, metric| of(&all, metric, &[("store", name)]);
    assert_eq!(store("one", "idempotency_entries"), Some(3.0));
    assert_eq!(store("other", "idempotency_entries"), Some(0.0));
    assert_eq!(store("one", "idempotency_entries_capacity"), Some(10.0));
    assert_eq!(store("one", "idempotency_executed_total"), Some(3.0));
    assert_eq!(store("one", "idempotency_oldest_age_seconds"), Some(1.5));
    assert_eq!(store("other", "idempotency_oldest_age_seconds"), None);
    assert_eq!(store("one", "idempotency_window_seconds"), Some(3_600.0));
    assert_eq!(store("one", "idempotency_damaged"), Some(0.0));
    let refused = |reason| {
        of(
            &all,
            "idempotency_refused_total",
            &[("store", "one"), ("reason", reason)],
        )
    };
    // A series that begins at nothing shows its first increase.
    assert_eq!((refused("TooOld"), refused("Full")), (Some(1.0), Some(0.0)));
}

#[test]
fn whatever_the_names_and_numbers() {
    let all = metrics(
        &[(HOSTILE, extreme()), ("", extreme()), ("a", extreme())],
        START,
    );
    assert_eq!(
        of(&all, "idempotency_entries", &[("store", HOSTILE)]),
        Some(u64::MAX as f64)
    );
    for now in [0, u64::MAX] {
        metrics(&[("a", extreme())], now);
    }
    metrics(&[], START);
}
