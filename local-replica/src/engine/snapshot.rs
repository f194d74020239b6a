//! Snapshots of a canister's heap and stable memory that share the pages they have in common, and digests of them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use wasmtime::Val;

use super::page::{Digest, Page, Pages as StablePages, ZEROS, short};
use super::stable::PAGE;
use super::{Module, StableMemory, Trap};

/// A page of a heap with this content.
fn shared(bytes: &[u8]) -> Arc<Page> {
    match bytes.try_into() {
        Ok(bytes) if bytes != [0; PAGE] => Arc::new(Page::of(bytes)),
        _ => Arc::clone(&ZEROS),
    }
}

/// Heap and globals of an instance at one moment. A copy costs nothing.
#[derive(Clone, Debug)]
pub(crate) struct HeapSnapshot {
    module: Module,
    pages: Arc<Vec<Arc<Page>>>,
    globals: Vec<Val>,
}

impl HeapSnapshot {
    /// Fails if a global holds a reference: it would mean nothing in another instance.
    pub(super) fn new(
        module: Module,
        pages: Arc<Vec<Arc<Page>>>,
        globals: Vec<Val>,
    ) -> Result<Self, Trap> {
        if globals.iter().any(|value| bits(value).is_none()) {
            let text = "snapshots of a module with a mutable global that holds a reference";
            return Err(Trap::Contract(format!(
                "{text}: not supported by local-replica"
            )));
        }
        Ok(Self {
            module,
            pages,
            globals,
        })
    }

    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    pub(super) fn globals(&self) -> &[Val] {
        &self.globals
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// Bytes of the pages that `other` doesn't share.
    pub(crate) fn bytes_beyond(&self, other: &Self) -> usize {
        let shared = self.pages.iter().zip(other.pages.iter());
        let shared = shared.filter(|(one, other)| Arc::ptr_eq(one, other));
        (self.pages.len() - shared.count()) * PAGE
    }
}

/// Equal for equal modules, heaps and globals.
impl Hash for HeapSnapshot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.module.hash().hash(state);
        // At once, which is several times as fast as one by one.
        let digests: Vec<Digest> = self.pages.iter().map(|page| *page.digest()).collect();
        state.write(digests.as_flattened());
        for global in &self.globals {
            bits(global).hash(state);
        }
    }
}

fn bits(value: &Val) -> Option<u128> {
    match value {
        Val::I32(value) => Some(u128::from(value.cast_unsigned())),
        Val::I64(value) => Some(u128::from(value.cast_unsigned())),
        Val::F32(bits) => Some(u128::from(*bits)),
        Val::F64(bits) => Some(u128::from(*bits)),
        Val::V128(value) => Some(value.as_u128()),
        _ => None,
    }
}

/// What is known of an instance's heap: the content of its pages, but for those in `changed`.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pages: Arc<Vec<Arc<Page>>>,
    pub(super) changed: Vec<usize>,
    /// What the module starts with, where that is known.
    fresh: Arc<Vec<Arc<Page>>>,
}

impl Mirror {
    /// Of a heap of which nothing is known, but that it began as a fresh one.
    pub(super) fn began_as(fresh: &HeapSnapshot) -> Self {
        Self {
            changed: (0..fresh.pages.len()).collect(),
            ..Self::of_fresh(fresh)
        }
    }

    /// Of the heap that a module starts with.
    pub(super) fn of_fresh(fresh: &HeapSnapshot) -> Self {
        Self {
            pages: Arc::clone(&fresh.pages),
            changed: Vec::new(),
            fresh: Arc::clone(&fresh.pages),
        }
    }

    /// Which of a heap's first pages aren't known to be those of a fresh one.
    pub(super) fn beyond_fresh(&self, pages: usize) -> Vec<usize> {
        let known = |page: &usize| match (self.pages.get(*page), self.fresh.get(*page)) {
            (Some(page), Some(fresh)) => Arc::ptr_eq(page, fresh),
            _ => false,
        };
        let others = (0..pages).filter(|page| !known(page));
        let changed = self.changed.iter().copied().filter(|page| *page < pages);
        others.chain(changed).collect()
    }

    pub(super) fn pages(&self) -> Arc<Vec<Arc<Page>>> {
        Arc::clone(&self.pages)
    }

    /// Makes it say what is in the heap.
    pub(super) fn update(&mut self, heap: &[u8]) {
        let content = |page: usize| &heap[page * PAGE..][..PAGE];
        let known = self.pages.len();
        let end = heap.len() / PAGE;
        if self.changed.is_empty() && known == end {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        for page in self.changed.drain(..).filter(|page| *page < known) {
            if pages[page].bytes() != content(page) {
                pages[page] = shared(content(page));
            }
        }
        pages.extend((known..end).map(|page| shared(content(page))));
    }

    /// Makes the heap, which has the snapshot's size, hold what the snapshot says.
    pub(super) fn write(&mut self, snapshot: &HeapSnapshot, heap: &mut [u8]) {
        let mut write = |page: usize| {
            heap[page * PAGE..][..PAGE].copy_from_slice(snapshot.pages[page].bytes());
        };
        self.changed.drain(..).for_each(&mut write);
        if Arc::ptr_eq(&self.pages, &snapshot.pages) {
            return;
        }
        let known = self.pages.iter().zip(snapshot.pages.iter());
        for (page, (old, new)) in known.enumerate() {
            if !Arc::ptr_eq(old, new) {
                write(page);
            }
        }
        (self.pages.len()..snapshot.pages.len()).for_each(write);
        self.pages = Arc::clone(&snapshot.pages);
    }
}

/// What a stable memory holds, by a digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct StableDigests {
    pages: Arc<StablePages>,
    digest: Digest,
    wasm_pages: u64,
}

impl StableDigests {
    /// Costs the pages that were written since they last had a digest; nothing if `known` has the same pages.
    pub(crate) fn of(memory: &StableMemory, known: Option<&Self>) -> Self {
        let (pages, wasm_pages) = (memory.pages(), memory.wasm_pages());
        if let Some(known) = known
            && Arc::ptr_eq(&known.pages, pages)
        {
            return Self {
                wasm_pages,
                ..known.clone()
            };
        }
        let mut whole = Vec::new();
        for (number, page) in pages.written() {
            // A page of zeros that was written equals one that never was.
            if page.digest() != ZEROS.digest() {
                whole.extend(number.to_le_bytes());
                whole.extend(page.digest());
            }
        }
        Self {
            pages: Arc::clone(pages),
            digest: short(&blake3::hash(&whole)),
            wasm_pages,
        }
    }

    /// Bytes that `other` doesn't share.
    pub(crate) fn bytes_beyond(&self, other: &Self) -> usize {
        match Arc::ptr_eq(&self.pages, &other.pages) {
            true => 0,
            false => self.pages.bytes_beyond(&other.pages),
        }
    }
}

/// Equal for equal memories.
impl Hash for StableDigests {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wasm_pages.hash(state);
        state.write(&self.digest);
    }
}
