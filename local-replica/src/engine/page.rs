//! Pages of memory that copies share until one of them writes, each with a digest that is computed once, when it is asked for.

use std::sync::{Arc, LazyLock, OnceLock};

use blake3::OUT_LEN;

use super::stable::PAGE;

/// Enough that no two contents that ever come up share one.
pub(super) type Digest = [u8; OUT_LEN / 2];

pub(super) fn digest(bytes: &[u8]) -> Digest {
    short(&blake3::hash(bytes))
}

pub(super) fn short(hash: &blake3::Hash) -> Digest {
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

#[derive(Debug)]
pub(super) struct Page {
    bytes: [u8; PAGE],
    digest: OnceLock<Digest>,
}

pub(super) static ZEROS: LazyLock<Arc<Page>> = LazyLock::new(|| Arc::new(Page::of([0; PAGE])));

/// What is cloned is about to be written.
impl Clone for Page {
    fn clone(&self) -> Self {
        Self::of(self.bytes)
    }
}

impl Page {
    pub(super) fn of(bytes: [u8; PAGE]) -> Self {
        Self {
            bytes,
            digest: OnceLock::new(),
        }
    }

    pub(super) fn bytes(&self) -> &[u8; PAGE] {
        &self.bytes
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; PAGE] {
        self.digest.take();
        &mut self.bytes
    }

    pub(super) fn digest(&self) -> &Digest {
        self.digest.get_or_init(|| digest(&self.bytes))
    }
}

/// Pages of a block: the tables of a memory are copied block by block.
const BLOCK: usize = 64;

type Block = [Option<Arc<Page>>; BLOCK];

/// Pages by their numbers. Those never written take no space, nor do blocks of them; a copy costs one word for each block.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    blocks: Vec<Option<Arc<Block>>>,
}

impl Pages {
    pub(super) fn get(&self, number: u64) -> Option<&Arc<Page>> {
        let number = number as usize;
        let block = self.blocks.get(number / BLOCK)?.as_ref()?;
        block[number % BLOCK].as_ref()
    }

    /// The place of a page.
    pub(super) fn slot(&mut self, number: u64) -> &mut Option<Arc<Page>> {
        let number = number as usize;
        if number / BLOCK >= self.blocks.len() {
            self.blocks.resize_with(number / BLOCK + 1, || None);
        }
        let block =
            self.blocks[number / BLOCK].get_or_insert_with(|| Arc::new([const { None }; BLOCK]));
        &mut Arc::make_mut(block)[number % BLOCK]
    }

    /// Those that were written, in order.
    pub(super) fn written(&self) -> impl Iterator<Item = (u64, &Arc<Page>)> {
        let blocks = self.blocks.iter().enumerate();
        let pages = blocks.filter_map(|(number, block)| Some((number * BLOCK, block.as_ref()?)));
        pages.flat_map(|(first, block)| {
            let pages = block.iter().enumerate();
            pages.filter_map(move |(place, page)| Some(((first + place) as u64, page.as_ref()?)))
        })
    }

    /// Bytes that `other` doesn't share.
    pub(super) fn bytes_beyond(&self, other: &Self) -> usize {
        let blocks = self.blocks.iter().enumerate();
        let own = blocks.map(|(number, block)| match (block, other.blocks.get(number)) {
            (None, _) => 0,
            (Some(own), Some(Some(other))) if Arc::ptr_eq(own, other) => 0,
            (Some(own), other) => {
                let other = other.and_then(Option::as_ref);
                let pages = own.iter().enumerate();
                let pages =
                    pages.filter(|(place, page)| match (page, other.map(|it| &it[*place])) {
                        (None, _) => false,
                        (Some(own), Some(Some(other))) => !Arc::ptr_eq(own, other),
                        (Some(_), _) => true,
                    });
                size_of::<Block>() + pages.count() * size_of::<Page>()
            }
        });
        own.sum::<usize>() + size_of_val(&self.blocks[..])
    }
}
