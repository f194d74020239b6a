//! The links of all Markdown pages: each leads to a file that exists, and to a heading in it; and the book has every page of
//! its directory. Links into the network aren't followed.
#![forbid(unsafe_code)]

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What a page has that others lead to, and where it leads.
struct Page {
    anchors: BTreeSet<String>,
    links: Vec<String>,
    /// Files that mdBook puts in the place of `{{#include …}}`: it leaves out without failing what isn't there.
    includes: Vec<String>,
}

/// The pages below a directory, by their paths. What is built, fetched or hidden is none of ours.
fn pages(directory: &Path, pages: &mut BTreeMap<PathBuf, Page>) {
    for entry in fs::read_dir(directory).expect("a directory can be read") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_symlink() || name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            self::pages(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).expect("a page can be read");
            pages.insert(plain(&path), page(&text));
        }
    }
}

fn page(text: &str) -> Page {
    let mut page = Page {
        anchors: BTreeSet::new(),
        links: vec![],
        includes: vec![],
    };
    let mut heading: Option<String> = None;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let title = heading.take().unwrap_or_default();
                let anchor = unique(anchor(&title), &page.anchors);
                page.anchors.insert(anchor);
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(title) = &mut heading {
                    title.push_str(&text);
                }
            }
            _ => {}
        }
    }
    let includes = ["{{#include ", "{{#rustdoc_include "];
    let after = includes
        .iter()
        .flat_map(|include| text.split(include).skip(1));
    let files = after.filter_map(|rest| rest.split(['}', ':']).next());
    page.includes = files.map(|file| file.trim().to_owned()).collect();
    page
}

/// The anchor of a heading, as mdBook and GitHub make it.
fn anchor(title: &str) -> String {
    let kept = title.trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ if letter.is_alphanumeric() => Some(letter),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// The same heading for the second time has a number behind.
fn unique(anchor: String, taken: &BTreeSet<String>) -> String {
    let numbered = (1..).map(|number| format!("{anchor}-{number}"));
    let mut candidates = std::iter::once(anchor.clone()).chain(numbered);
    candidates
        .find(|candidate| !taken.contains(candidate))
        .unwrap_or_default()
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            _ => plain.push(part),
        }
        plain
    })
}

/// The file that a page means by a relative path.
fn beside(page: &Path, file: &str) -> PathBuf {
    plain(&page.parent().unwrap_or(page).join(file))
}

/// What is wrong with a link, if anything.
fn fault(from: &Path, link: &str, pages: &BTreeMap<PathBuf, Page>) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => from.to_owned(),
        file => beside(from, file),
    };
    if !target.exists() {
        return Some(format!("{}: {link}: no such file", from.display()));
    }
    let is_there = match pages.get(&target) {
        Some(page) => {
            let includes = page.includes.iter();
            let included = includes.filter_map(|file| pages.get(&beside(&target, file)));
            anchor.is_empty()
                || included
                    .chain([page])
                    .any(|page| page.anchors.contains(anchor))
        }
        // Lines of a source file, say.
        None => true,
    };
    (!is_there).then(|| format!("{}: {link}: no such heading", from.display()))
}

#[test]
fn each_link_leads_somewhere_and_the_book_has_each_of_its_pages() {
    let root = plain(Path::new(ROOT));
    let mut all = BTreeMap::new();
    pages(&root, &mut all);
    assert!(
        all.len() > 2,
        "the pages are not where they were: {:?}",
        all.keys()
    );

    let links = all.iter().flat_map(|(path, page)| {
        // What rustdoc resolves is rustdoc's to check.
        let is_rustdoc = path.components().any(|part| part.as_os_str() == "src")
            && !path.starts_with(root.join("docs"));
        let links = page.links.iter().filter(move |_| !is_rustdoc);
        links.chain(&page.includes).map(move |link| (path, link))
    });
    let mut faults: Vec<_> = links
        .filter_map(|(path, link)| fault(path, link, &all))
        .collect();

    let book = root.join("docs/src");
    let summary = book.join("SUMMARY.md");
    let listed: BTreeSet<_> = all.get(&summary).map_or(BTreeSet::new(), |page| {
        page.links
            .iter()
            .map(|link| plain(&book.join(link)))
            .collect()
    });
    let written = all
        .keys()
        .filter(|path| path.starts_with(&book) && **path != summary);
    let unlisted = written.filter(|path| !listed.contains(*path));
    faults.extend(unlisted.map(|path| format!("{}: SUMMARY.md lacks it", path.display())));

    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let here = plain(&Path::new(ROOT).join("README.md"));
    let text = "# One `thing`, and *more*\n[a](#one-thing-and-more) [b](#two) [c](missing.md) [d](https://example.com/x)";
    let pages = BTreeMap::from([(here.clone(), page(text))]);
    let faults = |link: &&String| fault(&here, link, &pages).is_some();
    let faulty: Vec<_> = pages[&here].links.iter().filter(faults).collect();
    assert_eq!(faulty, ["#two", "missing.md"]);
}
