//! Stable memory. The IC has these as Wasm code that isn't counted, so they charge what they do and nothing more.

use super::super::stable::OutOfBounds;
use super::*;

/// Growing, beyond the call itself.
const GROW: u64 = 100;
/// Reading or writing, besides a instruction for each byte.
const ACCESS: u64 = 20;
/// A 4 KiB page's first write in a message.
const DIRTY_PAGE: u64 = 1_000;
/// Wasm pages that the 32-bit calls can address.
const PAGES_32: u64 = 1 << 16;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "ic0",
        "stable64_size",
        |mut caller: Caller<'_, State>| -> Result<u64> {
            count(&mut caller)?;
            Ok(caller.data().stable.wasm_pages())
        },
    )?;
    linker.func_wrap(
        "ic0",
        "stable64_grow",
        |mut caller: Caller<'_, State>, pages: u64| -> Result<u64> {
            count(&mut caller)?;
            charge(&mut caller, GROW)?;
            Ok(caller.data_mut().stable.grow(pages).unwrap_or(u64::MAX))
        },
    )?;
    linker.func_wrap(
        "ic0",
        "stable64_read",
        |mut caller: Caller<'_, State>, target: u64, offset: u64, size: u64| {
            stable_read(&mut caller, target, offset, size)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "stable64_write",
        |mut caller: Caller<'_, State>, offset: u64, source: u64, size: u64| {
            stable_write(&mut caller, offset, source, size)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "stable_size",
        |mut caller: Caller<'_, State>| -> Result<u32> {
            count(&mut caller)?;
            check_32(&caller)?;
            Ok(caller.data().stable.wasm_pages() as u32)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "stable_grow",
        |mut caller: Caller<'_, State>, pages: u32| -> Result<u32> {
            count(&mut caller)?;
            charge(&mut caller, GROW)?;
            check_32(&caller)?;
            let stable = &mut caller.data_mut().stable;
            if stable.wasm_pages() + u64::from(pages) > PAGES_32 {
                return Ok(u32::MAX);
            }
            Ok(stable
                .grow(u64::from(pages))
                .map_or(u32::MAX, |old| old as u32))
        },
    )?;
    linker.func_wrap(
        "ic0",
        "stable_read",
        |mut caller: Caller<'_, State>, target: u32, offset: u32, size: u32| -> Result<()> {
            check_32(&caller)?;
            stable_read(&mut caller, target.into(), offset.into(), size.into())
        },
    )?;
    linker.func_wrap(
        "ic0",
        "stable_write",
        |mut caller: Caller<'_, State>, offset: u32, source: u32, size: u32| -> Result<()> {
            check_32(&caller)?;
            stable_write(&mut caller, offset.into(), source.into(), size.into())
        },
    )?;
    Ok(())
}

fn check_32(caller: &Caller<'_, State>) -> Result<()> {
    if caller.data().stable.wasm_pages() > PAGES_32 {
        return Err(Trap::Wasm(
            "32 bit stable memory api used on a memory larger than 4GB".to_owned(),
        )
        .into());
    }
    Ok(())
}

fn out_of_bounds(_: OutOfBounds) -> Trap {
    Trap::Wasm("stable memory out of bounds".to_owned())
}

/// A heap range as 32-bit address and length.
fn heap_range(caller: &Caller<'_, State>, address: u64, size: u64) -> Result<(u32, u32)> {
    let heap = caller.data().handles()?.heap.data_size(caller) as u64;
    let inside = address.checked_add(size).is_some_and(|end| end <= heap);
    match (u32::try_from(address), u32::try_from(size)) {
        (Ok(address), Ok(size)) if inside => Ok((address, size)),
        _ => Err(Trap::Wasm("heap out of bounds".to_owned()).into()),
    }
}

fn stable_read(caller: &mut Caller<'_, State>, target: u64, offset: u64, size: u64) -> Result<()> {
    count(caller)?;
    charge(caller, ACCESS.saturating_add(size))?;
    if size == 0 {
        return Ok(());
    }
    let (target, size) = heap_range(caller, target, size)?;
    mark(caller, target, size)?;
    let memory = caller.data().handles()?.heap;
    let (heap, state) = memory.data_and_store_mut(caller);
    let bytes = &mut heap[target as usize..][..size as usize];
    state.stable.read(offset, bytes).map_err(out_of_bounds)?;
    Ok(())
}

fn stable_write(caller: &mut Caller<'_, State>, offset: u64, source: u64, size: u64) -> Result<()> {
    count(caller)?;
    charge(caller, ACCESS.saturating_add(size))?;
    if size == 0 {
        return Ok(());
    }
    let (source, size) = heap_range(caller, source, size)?;
    let clean = caller
        .data()
        .stable
        .clean_pages(offset, size.into())
        .map_err(out_of_bounds)?;
    charge(caller, clean * DIRTY_PAGE)?;
    let memory = caller.data().handles()?.heap;
    let (heap, state) = memory.data_and_store_mut(caller);
    let bytes = &heap[source as usize..][..size as usize];
    state.stable.write(offset, bytes).map_err(out_of_bounds)?;
    Ok(())
}
