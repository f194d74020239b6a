//! The figures in the page "Costs" are those that were measured. `UPDATE_COSTS=1 cargo test -p book --test costs` writes them
//! anew from `bench/results.csv`.

use std::{env, fs, path::PathBuf};

/// One line of `bench/results.csv`.
struct Row<'a> {
    benchmark: &'a str,
    entries: u64,
    median: f64,
    max: f64,
    bytes_per_entry: Option<f64>,
}

struct Results<'a>(Vec<Row<'a>>);

impl<'a> Results<'a> {
    fn parse(csv: &'a str) -> Self {
        let rows = csv.lines().skip(1).map(|line| {
            let mut fields = line.split(',');
            let mut field = || fields.next().expect("a line has five fields");
            Row {
                benchmark: field(),
                entries: field().parse().expect("entries"),
                median: field().parse().expect("median"),
                max: field().parse().expect("max"),
                bytes_per_entry: field().parse().ok(),
            }
        });
        Self(rows.collect())
    }

    fn find(&self, benchmark: &str, entries: u64) -> Option<&Row<'a>> {
        let mut rows = self.0.iter();
        rows.find(|row| row.benchmark == benchmark && row.entries == entries)
    }

    /// The value of what the last column of the page names.
    fn value(&self, source: &Source<'_>, entries: u64) -> Option<f64> {
        let row = self.find(source.benchmark, entries)?;
        match source.value {
            "median" => Some(row.median),
            "max" => Some(row.max),
            "max / median" => Some(row.max / row.median),
            "bytes" => row.bytes_per_entry,
            "MB of 8.64 million" => Some(row.bytes_per_entry? * 8.64),
            "median / store/insert" => {
                Some(row.median / self.find("store/insert", 1_000_000)?.median)
            }
            other => panic!("the page names an unknown value, {other}"),
        }
    }
}

/// Where a row of the page comes from, as its last column says: "`store/insert` median".
struct Source<'a> {
    benchmark: &'a str,
    value: &'a str,
}

impl<'a> Source<'a> {
    fn parse(column: &'a str) -> Self {
        let (benchmark, value) = column[1..]
            .split_once("` ")
            .expect("a benchmark and a value");
        Self { benchmark, value }
    }

    /// The same of another store.
    fn of(&self, store: &str) -> Option<String> {
        let operation = self.benchmark.strip_prefix("store/")?;
        (self.value == "median").then(|| format!("{store}/{operation}"))
    }
}

/// A row of the page with the figures that were measured.
fn written(line: &str, results: &Results<'_>) -> String {
    let columns: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [what, held, target, _, _, _, column] = columns[..] else {
        panic!("a row has seven columns: {line}");
    };
    let source = Source::parse(column);
    let entries = number(held).expect("a row says how many requests are held") as u64;
    let measured = results.value(&source, entries);
    let measured = measured.unwrap_or_else(|| panic!("{column} at {held} was not measured"));
    let is_missed = number(target).is_some_and(|target| rounded(measured) > target);
    let measured = match is_missed {
        true => format!("**{}**", figure(measured)),
        false => figure(measured),
    };
    let other = |store: &str| {
        let benchmark = source.of(store);
        let row = benchmark.and_then(|benchmark| results.find(&benchmark, entries));
        row.map_or("–".to_owned(), |row| figure(row.median))
    };
    let (trees, pair) = (other("two_btrees"), other("heap_pair"));
    format!("| {what} | {held} | {target} | {measured} | {trees} | {pair} | {column} |")
}

/// The number at the beginning of a column.
fn number(column: &str) -> Option<f64> {
    let digits = column.split(' ').next()?;
    digits.replace(',', "").parse().ok()
}

/// As it is shown.
fn rounded(value: f64) -> f64 {
    match value {
        100.0.. => value.round(),
        _ => (value * 10.0).round() / 10.0,
    }
}

fn figure(value: f64) -> String {
    let value = rounded(value);
    if value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[test]
fn the_page_has_the_figures_that_were_measured() {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let page = docs.join("src/costs.md");
    let is = fs::read_to_string(&page).expect("the page is there");
    let csv = fs::read_to_string(docs.join("../bench/results.csv")).expect("results are there");
    let results = Results::parse(&csv);

    let mut rows = 0;
    let should: String = is
        .lines()
        .map(|line| match line.ends_with(" |") && line.contains("| `") {
            true => {
                rows += 1;
                written(line, &results) + "\n"
            }
            false => line.to_owned() + "\n",
        })
        .collect();
    assert!(rows > 20, "the table is not read: {rows} rows");
    if env::var_os("UPDATE_COSTS").is_some() {
        fs::write(&page, &should).expect("the page can be written");
    }
    let is = fs::read_to_string(&page).expect("the page is there");
    let stale: Vec<_> = is
        .lines()
        .zip(should.lines())
        .filter(|(is, should)| is != should)
        .collect();
    assert!(
        stale.is_empty(),
        "run this test with UPDATE_COSTS=1: {stale:#?}"
    );
}
