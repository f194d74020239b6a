//! A file as stable memory, and what the Internet Computer would charge for what is done to it.

use ic_stable_structures::Memory;
use memmap2::MmapMut;
use std::{
    cell::{Cell, RefCell},
    fs::File,
    io,
    path::Path,
    rc::Rc,
};

const PAGE: u64 = 65_536;

/// Pages whose first write in a message is charged, and what for.
const SMALL_PAGE: u64 = 4_096;
const FRESH_PAGE: u64 = 1_000;

/// Of each access, besides its bytes.
const ACCESS: u64 = 20;

/// The file is made longer by so many bytes at a time: sparse, so that they take room when they are written to.
const STEP: u64 = 1 << 28;

/// What was done to a memory, in all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    /// Pages of 4 KiB, each counted once in a message.
    pub(crate) fresh_pages: u64,
}

impl Used {
    /// Instructions that stable memory is charged for this.
    pub(crate) fn instructions(&self) -> u64 {
        ACCESS * (self.reads + self.writes)
            + self.bytes_read
            + self.bytes_written
            + FRESH_PAGE * self.fresh_pages
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            bytes_read: self.bytes_read - before.bytes_read,
            bytes_written: self.bytes_written - before.bytes_written,
            fresh_pages: self.fresh_pages - before.fresh_pages,
        }
    }
}

struct Inner {
    file: File,
    map: RefCell<Option<MmapMut>>,
    pages: Cell<u64>,
    used: Cell<Used>,
    message: Cell<u32>,
    /// In which message each page of 4 KiB was written to last.
    written_in: RefCell<Vec<u32>>,
}

/// A memory in a file without a name: it is gone when nothing uses it any more, however the process ends.
#[derive(Clone)]
pub(crate) struct Mapped(Rc<Inner>);

impl Mapped {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self(Rc::new(Inner {
            file: tempfile::tempfile_in(directory)?,
            map: RefCell::new(None),
            pages: Cell::new(0),
            used: Cell::default(),
            message: Cell::new(1),
            written_in: RefCell::default(),
        })))
    }

    /// What comes now is done in another message.
    pub(crate) fn next_message(&self) {
        self.0.message.set(self.0.message.get() + 1);
    }

    pub(crate) fn used(&self) -> Used {
        self.0.used.get()
    }

    fn map(&self, bytes: u64) -> io::Result<()> {
        let inner = &*self.0;
        let mapped = (inner.map.borrow().as_ref()).map_or(0, |map| map.len() as u64);
        if bytes <= mapped {
            return Ok(());
        }
        let length = bytes.next_multiple_of(STEP);
        inner.file.set_len(length)?;
        *inner.map.borrow_mut() = Some(map(&inner.file)?);
        Ok(())
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<MmapMut> {
    // SAFETY: a mapped file must not be changed by others while it is mapped. This one has no name, and its handle does not leave this module.
    unsafe { MmapMut::map_mut(file) }
}

impl Memory for Mapped {
    fn size(&self) -> u64 {
        self.0.pages.get()
    }

    fn grow(&self, pages: u64) -> i64 {
        let before = self.size();
        let bytes = before
            .checked_add(pages)
            .and_then(|all| all.checked_mul(PAGE));
        match bytes.map(|bytes| self.map(bytes)) {
            Some(Ok(())) => {
                self.0.pages.set(before + pages);
                let small_pages = (before + pages) * (PAGE / SMALL_PAGE);
                self.0
                    .written_in
                    .borrow_mut()
                    .resize(small_pages as usize, 0);
                before as i64
            }
            _ => -1,
        }
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        let map = self.0.map.borrow();
        let map = map.as_ref().expect("what is read is in the memory");
        dst.copy_from_slice(&map[offset as usize..][..dst.len()]);
        let mut used = self.0.used.get();
        used.reads += 1;
        used.bytes_read += dst.len() as u64;
        self.0.used.set(used);
    }

    fn write(&self, offset: u64, src: &[u8]) {
        let mut map = self.0.map.borrow_mut();
        let map = map.as_mut().expect("what is written is in the memory");
        map[offset as usize..][..src.len()].copy_from_slice(src);
        let mut used = self.0.used.get();
        used.writes += 1;
        used.bytes_written += src.len() as u64;
        let mut written_in = self.0.written_in.borrow_mut();
        let end = (offset + src.len() as u64).div_ceil(SMALL_PAGE);
        for page in &mut written_in[(offset / SMALL_PAGE) as usize..end as usize] {
            used.fresh_pages += u64::from(*page != self.0.message.get());
            *page = self.0.message.get();
        }
        self.0.used.set(used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_stays_as_the_memory_grows_and_is_counted() {
        let memory = Mapped::new(&std::env::temp_dir()).unwrap();
        assert_eq!((memory.size(), memory.grow(1), memory.grow(2)), (0, 0, 1));
        memory.write(4_000, &[7; 200]);
        memory.write(4_000, &[8; 10]);
        assert_eq!(memory.grow(STEP / PAGE), 3);
        let mut bytes = [0; 12];
        memory.read(3_999, &mut bytes);
        assert_eq!(bytes, [0, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7]);
        let used = memory.used();
        assert_eq!((used.reads, used.writes), (1, 2));
        assert_eq!(used.instructions(), 3 * 20 + 12 + 210 + 2_000);
        memory.next_message();
        memory.write(0, &[1]);
        assert_eq!(memory.used().since(&used).instructions(), 20 + 1 + 1_000);
    }
}
