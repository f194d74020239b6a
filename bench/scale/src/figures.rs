//! What was found, in a file.

use std::{collections::BTreeMap, fmt, fs, io, path::Path};

const TITLE: &str = "figure,ids,archives,value";

/// Figures by name.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(crate) fn add(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    /// Of several archives the one that has most.
    pub(crate) fn most(&mut self, name: &str, value: f64) {
        let most = self.0.entry(name.to_owned()).or_insert(value);
        *most = most.max(value);
    }

    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0[name]
    }

    /// Writes them to a file, which keeps its figures of other sizes.
    pub(crate) fn write(&self, file: &Path, ids: u64, archives: u32) -> io::Result<()> {
        let before = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        fs::write(file, self.lines(&before, ids, archives))
    }

    fn lines(&self, before: &str, ids: u64, archives: u32) -> String {
        // By figure, then by size.
        let mut lines = BTreeMap::new();
        for line in before.lines().skip(1) {
            let mut columns = line.split(',');
            let (name, size) = (columns.next().unwrap_or(""), columns.next().unwrap_or(""));
            let size: u64 = size.parse().unwrap_or(0);
            lines.insert((name.to_owned(), size), line.to_owned());
        }
        for (name, value) in &self.0 {
            let line = format!("{name},{ids},{archives},{}", figure(*value));
            lines.insert((name.clone(), ids), line);
        }
        let lines: Vec<String> = [TITLE.to_owned()]
            .into_iter()
            .chain(lines.into_values())
            .collect();
        lines.join("\n") + "\n"
    }
}

fn figure(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            writeln!(f, "{name:<28}{:>16}", figure(*value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_other_sizes_stay() {
        let mut figures = Figures::default();
        figures.add("b", 2.5);
        figures.most("a", 3.0);
        figures.most("a", 1.0);
        let once = figures.lines("", 10, 1);
        assert_eq!(once, format!("{TITLE}\na,10,1,3\nb,10,1,2.5\n"));
        figures.add("b", 7.0);
        let twice = figures.lines(&figures.lines(&once, 1_000, 8), 10, 2);
        assert_eq!(
            twice,
            format!("{TITLE}\na,10,2,3\na,1000,8,3\nb,10,2,7\nb,1000,8,7\n")
        );
    }
}
