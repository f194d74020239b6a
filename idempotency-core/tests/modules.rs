//! How the modules stand to each other, as read from their source: no file imports one that imports it, storage imports nothing of
//! the domain, and one file calls the IC.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use syn::{
    Attribute, Item, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

/// The path of a module, from the crate's root on.
type Module = Vec<String>;

/// The modules that each module refers to, and the crates.
type Uses = BTreeMap<Module, BTreeSet<Vec<String>>>;

struct Reader {
    module: Module,
    paths: BTreeSet<Vec<String>>,
    children: Vec<String>,
    /// How many modules of the file itself the reader is in.
    depth: usize,
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let tokens = attribute.meta.require_list().map(|list| &list.tokens);
        attribute.path().is_ident("cfg") && tokens.is_ok_and(|it| it.to_string() == "test")
    })
}

impl Reader {
    /// Notes a path as it would be written at the top of the file.
    fn insert(&mut self, path: Vec<String>) {
        let supers = path.iter().take_while(|segment| *segment == "super");
        let path = match supers.count() {
            0 => path,
            supers => {
                let inside = supers.min(self.depth);
                [&["self".to_owned()], &path[inside..]].concat()
            }
        };
        self.paths.insert(path);
    }

    fn note(&mut self, tree: &UseTree, mut before: Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.note(&path.tree, before);
            }
            UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.insert(before);
            }
            UseTree::Rename(name) => {
                before.push(name.ident.to_string());
                self.insert(before);
            }
            UseTree::Glob(_) => {
                self.insert(before);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.note(tree, before.clone());
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        // What stands in a module of the same file belongs to the file.
        match item.content {
            Some(_) => {
                self.depth += 1;
                visit::visit_item_mod(self, item);
                self.depth -= 1;
            }
            None => self.children.push(item.ident.to_string()),
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.note(&item.tree, vec![]);
    }

    /// `pub(crate)` and `pub(super)` name modules and import nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter();
        self.insert(segments.map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

/// Reads a module and those below it.
fn read(file: &Path, module: Module, uses: &mut Uses) {
    let source = fs::read_to_string(file).unwrap();
    let mut reader = Reader {
        module: module.clone(),
        paths: BTreeSet::new(),
        children: vec![],
        depth: 0,
    };
    reader.visit_file(&syn::parse_file(&source).unwrap());
    uses.insert(module.clone(), reader.paths);
    let is_root = module.is_empty() || file.ends_with("mod.rs");
    let directory = match is_root {
        true => file.parent().unwrap().to_owned(),
        false => file.with_extension(""),
    };
    for child in reader.children {
        let below = [&reader.module[..], std::slice::from_ref(&child)].concat();
        let (flat, nested) = (
            directory.join(format!("{child}.rs")),
            directory.join(&child).join("mod.rs"),
        );
        read(if flat.exists() { &flat } else { &nested }, below, uses);
    }
}

fn uses() -> Uses {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs"));
    let mut uses = Uses::new();
    read(&root, vec![], &mut uses);
    uses
}

/// The module that a path leads into, seen from another; `None` if it leads out of the crate.
fn resolve(path: &[String], from: &Module, uses: &Uses) -> Option<Module> {
    let (mut at, mut rest) = (from.clone(), path);
    let mut is_inside = false;
    while let Some((first, others)) = rest.split_first() {
        match first.as_str() {
            "crate" => at = vec![],
            "super" => {
                at.pop()?;
            }
            "self" => {}
            _ => break,
        }
        (is_inside, rest) = (true, others);
    }
    for segment in rest {
        let below = [&at[..], std::slice::from_ref(segment)].concat();
        if !uses.contains_key(&below) {
            break;
        }
        (at, is_inside) = (below, true);
    }
    is_inside.then_some(at)
}

fn edges(uses: &Uses) -> BTreeMap<&Module, BTreeSet<Module>> {
    let targets = |module: &Module, paths: &BTreeSet<Vec<String>>| {
        let targets = paths
            .iter()
            .filter_map(|path| resolve(path, module, uses))
            .filter(|target| target != module);
        targets.collect()
    };
    uses.iter()
        .map(|(module, paths)| (module, targets(module, paths)))
        .collect()
}

/// A way from the last module of `way` back to one that is on it.
fn circle(
    edges: &BTreeMap<&Module, BTreeSet<Module>>,
    way: &mut Vec<Module>,
    is_done: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    let last = way.last()?.clone();
    for next in &edges[&last] {
        if let Some(begin) = way.iter().position(|module| module == next) {
            return Some([&way[begin..], std::slice::from_ref(next)].concat());
        }
        if !is_done.contains(next) {
            way.push(next.clone());
            if let Some(circle) = circle(edges, way, is_done) {
                return Some(circle);
            }
            way.pop();
        }
    }
    is_done.insert(last);
    None
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let uses = uses();
    let edges = edges(&uses);
    assert!(edges.len() > 40, "only {} files were read", edges.len());
    let mut is_done = BTreeSet::new();
    for module in edges.keys() {
        let circle = circle(&edges, &mut vec![(*module).clone()], &mut is_done);
        let names = circle.map(|circle| circle.iter().map(|it| it.join("::")).collect::<Vec<_>>());
        assert!(names.is_none(), "a circle: {}", names.unwrap().join(" → "));
    }
}

#[test]
fn storage_knows_nothing_of_the_domain() {
    let uses = uses();
    for (module, targets) in edges(&uses) {
        if module.first().is_some_and(|first| first == "table") {
            for target in targets {
                let first = target.first().map(String::as_str);
                assert_eq!(first, Some("table"), "{module:?} imports {target:?}");
            }
        }
    }
}

#[test]
fn one_file_calls_the_ic() {
    let calls = |path: &Vec<String>| {
        matches!(
            path.first().map(String::as_str),
            Some("ic_cdk" | "ic_cdk_timers" | "ic0")
        )
    };
    let uses = uses();
    let callers = uses
        .iter()
        .filter(|(_, paths)| paths.iter().any(calls))
        .map(|(module, _)| module.join("::"));
    assert_eq!(callers.collect::<Vec<_>>(), ["runtime"]);
}
