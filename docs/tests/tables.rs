//! What the tables of the documentation name is there, and what is there is named once.

use candid::types::{Type, TypeInner, internal::TypeContainer};
use idempotency_core::IdempotencyError;
use std::{collections::BTreeSet, fs, path::PathBuf};

/// A file of the workspace.
fn file(path: &str) -> String {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = workspace.join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The columns of each table row that begins as given.
fn rows(text: &str, beginning: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with(beginning));
    rows.map(|row| {
        let columns = row.trim_matches('|').replace("\\|", "or");
        columns.split('|').map(|it| it.trim().to_owned()).collect()
    })
    .collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn sorted<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort();
    values
}

#[test]
fn the_table_of_options_names_each_option_of_the_macro_once() {
    let docs = file("idempotency-core/src/idempotent.md");
    let named = rows(&docs, "| `").into_iter().map(|row| {
        let option = quoted(&row[0])[0].to_owned();
        let name = option.split(" = ").next();
        name.expect("a split has a first part").to_owned()
    });

    // The macro's own words, which the tests of the attribute compare with what it says.
    let error = file("idempotency-core/tests/attribute/fail/unknown_option.stderr");
    let known = error
        .split("the options are ")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .expect("the error lists the options");
    assert_eq!(sorted(named), sorted(known.split(", ").map(str::to_owned)));
}

#[test]
fn the_table_of_errors_names_each_error_once() {
    let page = file("docs/src/errors.md");
    let (errors, traps) = page.split_once("## As a trap").expect("two tables");
    let named = rows(errors, "| `").into_iter().map(|row| {
        let name = quoted(&row[0])[0];
        name.to_owned()
    });
    assert_eq!(sorted(named), sorted(cases()));
    assert_eq!(rows(traps, "| `").len(), 6);
}

#[test]
fn the_tables_of_metrics_name_each_metric_once() {
    let page = file("docs/src/observability.md");
    let named = rows(&page, "| `idempotency_").into_iter();
    let named = named.map(|row| quoted(&row[0])[0].to_owned());
    let source = file("idempotency-core/src/http/metrics.rs");
    let quoted = source.split('"').skip(1).step_by(2);
    let made = quoted.filter(|text| text.starts_with("idempotency_"));
    assert_eq!(sorted(named), sorted(made.map(str::to_owned)));
}

/// Also those of outboxes and archives.
#[test]
fn each_test_that_the_guarantees_name_exists() {
    let page = file("docs/src/guarantees.md");
    let all = rows(&page, "| ").into_iter();
    let named = all.filter(|row| row.len() == 3 && row[1].starts_with('`'));
    let mut count = 0;
    for row in named {
        let source = file(quoted(&row[1])[0]);
        for test in quoted(&row[2]) {
            let is_there = source.split(&format!("fn {test}(")).next();
            let is_there = is_there.is_some_and(|before| {
                before.len() < source.len() && before.trim_end().ends_with("#[test]")
            });
            assert!(is_there, "{} has no test {test}", row[1]);
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

/// The cases of `IdempotencyError`, as candid has them.
fn cases() -> Vec<String> {
    let mut types = TypeContainer::new();
    let error: Type = types.add::<IdempotencyError>();
    let error = types.env.trace_type(&error).expect("the type is there");
    let TypeInner::Variant(cases) = error.as_ref() else {
        panic!("{error} is no variant");
    };
    cases.iter().map(|case| case.id.to_string()).collect()
}

#[test]
fn each_guarantee_has_tests_and_they_exist() {
    let page = file("docs/src/guarantees.md");
    let mut shown = BTreeSet::new();
    for row in rows(&page, "| G") {
        let tests = quoted(&row[2]);
        let source = file(quoted(&row[1])[0]);
        assert!(!tests.is_empty(), "no test for {}", row[0]);
        for test in tests {
            let is_there = source.contains(&format!("#[test]\nfn {test}()"));
            assert!(is_there, "{} has no test {test}", row[1]);
        }
        shown.insert(row[0].clone());
    }

    let readme = file("README.md");
    let promised = readme.lines().filter_map(|line| {
        let guarantee = line.strip_prefix("- **")?;
        guarantee.split("**").next().map(str::to_owned)
    });
    let promised: BTreeSet<String> = promised.collect();
    assert_eq!(shown, promised);
    for guarantee in promised {
        let explained = page.matches(&format!("\n**{guarantee} – ")).count();
        assert_eq!(explained, 1, "{guarantee}");
    }
}
