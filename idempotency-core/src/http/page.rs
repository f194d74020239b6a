//! The status page.

use super::{
    chart::Chart,
    observation::{MOST_LISTED, Observation},
    text::{Escaped, Grouped, Lasting, Share, permille},
};
use crate::{
    store::{Stats, UnknownRequest},
    time::Timestamp,
};
use std::{cmp::Reverse, fmt};

pub(super) const STYLE: &str = include_str!("page.css");

/// So many reasons for refusals are listed.
const MOST_REASONS: usize = 5;

/// All stores.
pub(super) struct Page<'a> {
    pub(super) stores: &'a [(&'a str, Observation)],
    pub(super) now: Timestamp,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\">\
             <title>Deduplication status</title><style>{STYLE}</style></head>\n<body><main>\
             <h1>Deduplication status</h1>\
             <p class=\"note\">Each request that is sent again gets its first reply. These are the stores that see to it. \
             For machines: <a href=\"/metrics\">metrics</a>.</p>\n"
        )?;
        for (number, (name, observation)) in self.stores.iter().enumerate() {
            let now = self.now;
            write!(
                f,
                "<section aria-labelledby=\"store-{number}\"><h2 id=\"store-{number}\">{}</h2>\n{}</section>\n",
                Escaped(name),
                Section { observation, now }
            )?;
        }
        f.write_str("</main></body></html>\n")
    }
}

/// One store.
struct Section<'a> {
    observation: &'a Observation,
    now: Timestamp,
}

impl fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = &self.observation.stats;
        if self.observation.is_damaged() {
            f.write_str(
                "<p class=\"alarm\"><strong>The memory of this store is damaged.</strong> It refuses calls with StoreDamaged.</p>\n",
            )?;
        }
        f.write_str("<div class=\"bars\">")?;
        bar(f, "Requests", stats.entries, stats.capacity)?;
        bar(f, "Bytes", stats.bytes, stats.capacity_bytes)?;
        f.write_str("</div>\n")?;
        match Chart::new(self.observation, self.now) {
            Some(chart) => writeln!(f, "{chart}")?,
            None => {
                f.write_str(
                    "<p class=\"note\">Nothing has been recorded since the last upgrade.</p>\n",
                )?;
            }
        }
        self.facts(f, stats)?;
        f.write_str("<div class=\"columns\"><div>")?;
        self.events(f, stats)?;
        f.write_str("</div><div>")?;
        self.refusals(f, stats)?;
        f.write_str("</div></div>\n")?;
        self.unresolved(f, stats)
    }
}

impl Section<'_> {
    fn facts(&self, f: &mut fmt::Formatter<'_>, stats: &Stats) -> fmt::Result {
        f.write_str("<dl class=\"facts\">")?;
        fact(f, "Window", Lasting(self.observation.window))?;
        fact(f, "Drift of clocks", Lasting(self.observation.drift))?;
        match stats.oldest {
            Some(oldest) => fact(f, "Age of the oldest", Lasting::between(oldest, self.now))?,
            None => fact(f, "Age of the oldest", "none is held")?,
        }
        match stats.oldest_expiry {
            Some(expiry) if expiry < self.now => fact(f, "Next eviction", "due")?,
            Some(expiry) => {
                let left = Lasting::between(self.now, expiry);
                fact(f, "Next eviction", format_args!("in {left}"))?;
            }
            None => fact(f, "Next eviction", "none")?,
        }
        fact(f, "In progress", Grouped(stats.in_progress))?;
        fact(f, "Outcome unknown", Grouped(stats.unknown))?;
        fact(f, "Lanes and quotas", Grouped(stats.counters))?;
        fact(f, "Incarnation", Grouped(stats.incarnation))?;
        f.write_str("</dl>\n")
    }

    fn events(&self, f: &mut fmt::Formatter<'_>, stats: &Stats) -> fmt::Result {
        let events = &stats.events;
        write!(
            f,
            "<table><caption>Since the last upgrade, {} ago</caption><tbody>",
            Lasting::between(events.since, self.now)
        )?;
        let refused =
            (events.refused.values()).fold(0, |sum: u64, count| sum.saturating_add(*count));
        for (what, count) in [
            ("Executed", events.executed),
            ("Replayed", events.replayed),
            ("Refused", refused),
            ("Evicted", events.evicted),
            ("Released", events.released),
        ] {
            row(f, what, count)?;
        }
        f.write_str("</tbody></table>\n")
    }

    fn refusals(&self, f: &mut fmt::Formatter<'_>, stats: &Stats) -> fmt::Result {
        let refused = stats.events.refused.iter();
        let mut refused: Vec<_> = refused.filter(|(_, count)| **count > 0).collect();
        refused.sort_by_key(|(name, count)| (Reverse(**count), *name));
        if refused.is_empty() {
            return f
                .write_str("<p class=\"note\">No call was refused since the last upgrade.</p>\n");
        }
        f.write_str(
            "<table><caption>Most frequent refusals</caption>\
             <thead><tr><th scope=\"col\">Reason</th><th scope=\"col\" class=\"number\">Calls</th></tr></thead><tbody>",
        )?;
        for (name, count) in refused.into_iter().take(MOST_REASONS) {
            row(f, Escaped(name), *count)?;
        }
        f.write_str("</tbody></table>\n")
    }

    fn unresolved(&self, f: &mut fmt::Formatter<'_>, stats: &Stats) -> fmt::Result {
        let Ok(unresolved) = &self.observation.unresolved else {
            return f.write_str(
                "<p class=\"note\">The requests whose outcome is unknown can't be read.</p>\n",
            );
        };
        if unresolved.is_empty() {
            return f.write_str(
                "<p class=\"note\">No request waits for somebody to find out what it did.</p>\n",
            );
        }
        f.write_str(
            "<table class=\"unresolved\"><caption>Requests whose outcome is unknown</caption>\
             <thead><tr><th scope=\"col\">Endpoint</th><th scope=\"col\">Began</th><th scope=\"col\">Last step</th>\
             <th scope=\"col\">State</th></tr></thead><tbody>",
        )?;
        for request in unresolved {
            write!(
                f,
                "<tr><th scope=\"row\">{}</th><td>{} ago</td><td>{}</td><td>{}</td></tr>",
                Escaped(or_none(&request.endpoint)),
                Lasting::between(request.since, self.now),
                Escaped(or_none(request.last_step.as_deref().unwrap_or_default())),
                state(request)
            )?;
        }
        f.write_str("</tbody></table>\n")?;
        match stats.unknown.saturating_sub(MOST_LISTED as u64) {
            0 => Ok(()),
            more => writeln!(f, "<p class=\"note\">And {} more.</p>", Grouped(more)),
        }
    }
}

/// Why it was parked is told to operators: texts of others may stand there.
fn state(request: &UnknownRequest) -> &'static str {
    match request.reason {
        Some(_) => "parked",
        None => "cut off",
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn fact(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    write!(f, "<div><dt>{name}</dt><dd>{value}</dd></div>")
}

fn row(f: &mut fmt::Formatter<'_>, name: impl fmt::Display, count: u64) -> fmt::Result {
    let count = Grouped(count);
    write!(
        f,
        "<tr><th scope=\"row\">{name}</th><td class=\"number\">{count}</td></tr>"
    )
}

/// How much is taken, as a bar: red from four fifths on.
fn bar(f: &mut fmt::Formatter<'_>, name: &str, taken: u64, most: u64) -> fmt::Result {
    let permille = permille(taken, most).min(1_000);
    let class = if permille >= 800 { "high" } else { "low" };
    write!(
        f,
        "<div><h3>{name}</h3><p><strong>{}</strong> of {}, {}</p>\
         <svg class=\"bar {class}\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect width=\"1000\" height=\"10\"/><rect class=\"taken\" width=\"{permille}\" height=\"10\"/></svg></div>",
        Grouped(taken),
        Grouped(most),
        Share(taken, most)
    )
}
