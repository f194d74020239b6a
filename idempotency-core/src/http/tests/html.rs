//! A light check of pages: enough to notice what is left open, unlabelled or foreign.

/// Elements that have no end.
const VOID: [&str; 3] = ["!DOCTYPE", "meta", "br"];

/// All that a page may be made of.
const KNOWN: [&str; 36] = [
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "h1",
    "h2",
    "h3",
    "p",
    "a",
    "section",
    "div",
    "span",
    "strong",
    "svg",
    "rect",
    "path",
    "figure",
    "figcaption",
    "dl",
    "dt",
    "dd",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "!DOCTYPE",
    "ul",
    "li",
    "small",
    "footer",
];

/// Panics unless the page is as it should be: balanced, of known elements, and with nothing that runs or comes from elsewhere.
pub(super) fn check(page: &str) {
    let mut open: Vec<&str> = vec![];
    let mut rest = page;
    let mut ids = vec![];
    let (mut last_heading, mut tables, mut captions) = (0, 0, 0);
    while let Some(begin) = rest.find('<') {
        let text = &rest[..begin];
        assert!(
            !text.contains('>') || open.last() == Some(&"style"),
            "{text}"
        );
        let end = begin + rest[begin..].find('>').expect("a tag ends");
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "what ends is what was open");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(KNOWN.contains(&name), "<{tag}>");
        let attributes: Vec<_> = tag[name.len()..].split('"').step_by(2).collect();
        for attribute in &attributes {
            let name = attribute.trim_matches([' ', '=', '/']);
            assert!(
                !name.starts_with("on") && name != "style" && name != "src",
                "<{tag}>"
            );
        }
        let value = |name: &str| {
            let (_, after) = tag.split_once(&format!(" {name}=\""))?;
            after.split('"').next()
        };
        ids.extend(value("id"));
        assert!(
            value("href").is_none_or(|href| href == "/metrics"),
            "<{tag}>"
        );
        match name {
            "h1" | "h2" | "h3" => {
                let level = name.as_bytes()[1] - b'0';
                assert!(level <= last_heading + 1, "no level is left out");
                last_heading = level;
            }
            "table" => tables += 1,
            "caption" => {
                captions += 1;
                assert_eq!(open.last(), Some(&"table"));
            }
            "th" => assert!(value("scope").is_some(), "<{tag}>"),
            "svg" => {
                let is_image = value("role") == Some("img") && value("aria-label").is_some();
                assert!(is_image || value("aria-hidden") == Some("true"), "<{tag}>");
            }
            _ => {}
        }
        if !VOID.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} is left open");
    assert_eq!(tables, captions, "every table has a caption");
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "ids are unique");
    for foreign in ["http:", "https:", "//", "url(", "@import", "javascript:"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

/// What stands between tags.
pub(super) fn text(page: &str) -> String {
    let body = page.split_once("<body>").expect("there is a body").1;
    let parts = body.split('<').filter_map(|part| part.split_once('>'));
    let parts: Vec<_> = parts.map(|(_, text)| text).collect();
    parts
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn the_check_finds_what_is_wrong() {
    for wrong in [
        "<p>",
        "<p></div>",
        "<script></script>",
        "<p onclick=\"x\"></p>",
        "<p style=\"x\"></p>",
        "<a href=\"/x\"></a>",
        "<h1></h1><h3></h3>",
        "<table></table>",
        "<table><caption></caption><th></th></table>",
        "<svg></svg>",
        "<p id=\"a\"></p><p id=\"a\"></p>",
        "<p>a > b</p>",
        "<style>@import x</style>",
    ] {
        let found = std::panic::catch_unwind(|| check(wrong));
        assert!(found.is_err(), "{wrong}");
    }
    check("<h1>a</h1><p id=\"a\">b &gt; c</p>");
}
