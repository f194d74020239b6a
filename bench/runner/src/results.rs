//! What was measured, as a file for a diff and as a table for people.

use std::fmt::Write;

/// Measurements of one thing.
#[derive(Default)]
pub(crate) struct Samples(Vec<u64>);

impl FromIterator<u64> for Samples {
    fn from_iter<I: IntoIterator<Item = u64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

impl Extend<u64> for Samples {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, samples: I) {
        self.0.extend(samples);
    }
}

impl IntoIterator for Samples {
    type Item = u64;
    type IntoIter = std::vec::IntoIter<u64>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Samples {
    pub(crate) fn median(&self) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }

    pub(crate) fn max(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or(0)
    }

    pub(crate) fn first(&self) -> u64 {
        self.0.first().copied().unwrap_or(0)
    }
}

/// One benchmark at one size.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) benchmark: String,
    pub(crate) entries: u64,
    pub(crate) median: u64,
    pub(crate) max: u64,
    pub(crate) bytes_per_entry: Option<f64>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Results(Vec<Row>);

impl Results {
    pub(crate) fn add(
        &mut self,
        benchmark: &str,
        entries: u64,
        median: u64,
        max: u64,
        bytes_per_entry: Option<f64>,
    ) {
        self.0.push(Row {
            benchmark: benchmark.to_owned(),
            entries,
            median,
            max,
            bytes_per_entry,
        });
    }

    /// The benchmark at all sizes, the smallest first.
    pub(crate) fn of(&self, benchmark: &str) -> Vec<&Row> {
        let mut rows: Vec<&Row> = (self.0.iter())
            .filter(|row| row.benchmark == benchmark)
            .collect();
        rows.sort_by_key(|row| row.entries);
        rows
    }

    /// Sorted, so that a diff shows changed figures and nothing else.
    pub(crate) fn csv(&self) -> String {
        let mut rows: Vec<&Row> = self.0.iter().collect();
        rows.sort_by_key(|row| (&row.benchmark, row.entries));
        let mut csv = "benchmark,entries,median,max,bytes_per_entry\n".to_owned();
        for row in rows {
            let bytes =
                (row.bytes_per_entry).map_or_else(String::new, |bytes| format!("{bytes:.1}"));
            let Row {
                benchmark,
                entries,
                median,
                max,
                ..
            } = row;
            csv += &format!("{benchmark},{entries},{median},{max},{bytes}\n");
        }
        csv
    }

    /// The store against its opponents, by medians: how many times the store's instructions they use.
    pub(crate) fn ratios(&self) -> String {
        const OPERATIONS: [&str; 7] = [
            "insert",
            "insert_charged",
            "insert_bulk",
            "hit",
            "miss",
            "expire",
            "expire_each",
        ];
        let mut table = format!(
            "{:<16}{:>12}{:>12}{:>12}{:>22}{:>22}\n",
            "instructions", "entries", "store", "its worst", "two B-trees", "heap pair"
        );
        for operation in OPERATIONS {
            for row in self.of(&format!("store/{operation}")) {
                let against = |opponent: &str| self.against(row, opponent, operation);
                let _ = writeln!(
                    table,
                    "{operation:<16}{:>12}{:>12}{:>12}{:>22}{:>22}",
                    grouped(row.entries),
                    grouped(row.median),
                    grouped(row.max),
                    against("two_btrees"),
                    against("heap_pair"),
                );
            }
        }
        table
    }

    fn against(&self, ours: &Row, opponent: &str, operation: &str) -> String {
        let theirs = self.of(&format!("{opponent}/{operation}"));
        let Some(theirs) = theirs.iter().find(|row| row.entries == ours.entries) else {
            return "not measured".to_owned();
        };
        let ratio = theirs.median as f64 / ours.median.max(1) as f64;
        format!("{} ({ratio:.2} x)", grouped(theirs.median))
    }
}

/// A number with separators.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_does_not_depend_on_the_order_of_measurement() {
        let mut one = Results::default();
        one.add("store/insert", 10, 5, 7, Some(64.25));
        one.add("store/hit", 10, 3, 4, None);
        let mut other = Results::default();
        other.add("store/hit", 10, 3, 4, None);
        other.add("store/insert", 10, 5, 7, Some(64.25));
        assert_eq!(one.csv(), other.csv());
        assert_eq!(
            one.csv(),
            "benchmark,entries,median,max,bytes_per_entry\nstore/hit,10,3,4,\nstore/insert,10,5,7,64.2\n"
        );
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
