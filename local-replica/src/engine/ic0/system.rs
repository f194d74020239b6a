//! Time, counters, the canister itself, certified data, logging and traps.

use super::super::state::instructions_left;
use super::*;
use candid::Principal;

/// Nodes of the subnet whose prices are used.
const NODES: u32 = 13;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    link_bytes(linker, "canister_self", ANY, |state| {
        state.message.canister_id.as_slice()
    })?;
    link_bytes(linker, "subnet_self", ANY, |state| {
        state.message.subnet_id.as_slice()
    })?;
    linker.func_wrap(
        "ic0",
        "subnet_self_node_count",
        |mut caller: Caller<'_, State>| -> Result<u32> {
            enter(&mut caller, "subnet_self_node_count", ANY, BASIC)?;
            Ok(NODES)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "canister_status",
        |mut caller: Caller<'_, State>| -> Result<u32> {
            enter(&mut caller, "canister_status", ANY, BASIC)?;
            Ok(caller.data().message.canister_status)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "canister_version",
        |mut caller: Caller<'_, State>| -> Result<u64> {
            enter(&mut caller, "canister_version", ANY, BASIC)?;
            Ok(caller.data().message.canister_version)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "is_controller",
        |mut caller: Caller<'_, State>, source: u32, size: u32| {
            enter(
                &mut caller,
                "is_controller",
                ANY | S,
                1_000 + u64::from(size),
            )?;
            let bytes = read(&mut caller, "ic0.is_controller", source, size)?;
            match Principal::try_from_slice(bytes) {
                Ok(principal) => Ok(u32::from(
                    caller.data().message.controllers.contains(&principal),
                )),
                Err(_) => violation("Canister provided invalid principal id".to_owned()),
            }
        },
    )?;
    linker.func_wrap(
        "ic0",
        "in_replicated_execution",
        |mut caller: Caller<'_, State>| -> Result<u32> {
            enter(&mut caller, "in_replicated_execution", ANY | S, BASIC)?;
            let (mode, _) = mode(&caller.data().message);
            Ok(u32::from(mode & (NRQ | F | COMPOSITE) == 0))
        },
    )?;
    link_time(linker)?;
    link_certification(linker)?;
    link_text(linker)
}

fn link_time(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "ic0",
        "time",
        |mut caller: Caller<'_, State>| -> Result<u64> {
            enter(&mut caller, "time", ANY, BASIC)?;
            Ok(caller.data().message.time_ns)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "global_timer_set",
        |mut caller: Caller<'_, State>, deadline: u64| -> Result<u64> {
            enter(
                &mut caller,
                "global_timer_set",
                I | G | U | RY | RT | C | T,
                BASIC,
            )?;
            let old = caller.data().message.global_timer_ns;
            Ok(caller
                .data_mut()
                .effects
                .global_timer
                .replace(deadline)
                .unwrap_or(old))
        },
    )?;
    linker.func_wrap(
        "ic0",
        "performance_counter",
        |mut caller: Caller<'_, State>, kind: u32| -> Result<u64> {
            count(&mut caller)?;
            charge(&mut caller, 200)?;
            let left = instructions_left(&mut caller)?.max(0).unsigned_abs();
            let message = &caller.data().message;
            let used = message.instruction_limit.saturating_sub(left);
            match kind {
                0 => Ok(used),
                1 => Ok(message.call_context_instructions.saturating_add(used)),
                _ => violation(format!("Error getting performance counter type {kind}")),
            }
        },
    )?;
    Ok(())
}

fn link_certification(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap("ic0", "certified_data_set", |mut caller: Caller<'_, State>, source: u32, size: u32| {
        let name = "certified_data_set";
        enter(&mut caller, name, I | G | U | RY | RT | T, BASIC + u64::from(size))?;
        if size > 32 {
            return violation(format!(
                "ic0_certified_data_set failed because the passed data must be no larger than 32 bytes. Found {size} bytes"
            ));
        }
        let data = read(&mut caller, "ic0.certified_data_set", source, size)?.to_vec();
        caller.data_mut().effects.certified_data = Some(data);
        Ok(())
    })?;
    linker.func_wrap(
        "ic0",
        "data_certificate_present",
        |mut caller: Caller<'_, State>| -> Result<u32> {
            enter(&mut caller, "data_certificate_present", ANY, BASIC)?;
            Ok(u32::from(caller.data().message.data_certificate.is_some()))
        },
    )?;
    linker.func_wrap(
        "ic0",
        "data_certificate_size",
        |mut caller: Caller<'_, State>| -> Result<u32> {
            let modes = certificate_modes(&caller);
            enter(&mut caller, "data_certificate_size", modes, BASIC)?;
            Ok(certificate(caller.data()).len() as u32)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "data_certificate_copy",
        |mut caller: Caller<'_, State>, target: u32, offset: u32, size: u32| -> Result<()> {
            let name = "data_certificate_copy";
            let modes = certificate_modes(&caller);
            enter(&mut caller, name, modes, BASIC + u64::from(size))?;
            copy(&mut caller, name, target, offset, size, certificate)
        },
    )?;
    linker.func_wrap("ic0", "root_key_size", || -> Result<u32> {
        unsupported("root_key_size")
    })?;
    linker.func_wrap(
        "ic0",
        "root_key_copy",
        |_: u32, _: u32, _: u32| -> Result<()> { unsupported("root_key_copy") },
    )?;
    Ok(())
}

/// A query without a certificate may no more ask for it than an update.
fn certificate_modes(caller: &Caller<'_, State>) -> Modes {
    match caller.data().message.data_certificate {
        Some(_) => NRQ | CQ,
        None => 0,
    }
}

fn certificate(state: &State) -> &[u8] {
    let certificate = state.message.data_certificate.as_ref();
    certificate.map_or(&[], |certificate| certificate.bytes())
}

fn link_text(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "ic0",
        "debug_print",
        |mut caller: Caller<'_, State>, source: u32, size: u32| -> Result<()> {
            // PocketIC prints on every subnet, so the bytes are charged once more.
            let size_cost = caller.data().log_cost(size.into()) + u64::from(size);
            count(&mut caller)?;
            charge(&mut caller, 100 + size_cost)?;
            let text = match read(&mut caller, "ic0.debug_print", source, size) {
                Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Err(_) => "(debug_print message out of memory bounds)".to_owned(),
            };
            caller.data_mut().append_log(text);
            Ok(())
        },
    )?;
    linker.func_wrap(
        "ic0",
        "trap",
        |mut caller: Caller<'_, State>, source: u32, size: u32| -> Result<()> {
            let size_cost = caller.data().log_cost(size.into()) + u64::from(size);
            count(&mut caller)?;
            charge(&mut caller, 500 + size_cost)?;
            let text = match read(&mut caller, "ic0.trap", source, size) {
                Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Err(_) => "(trap message out of memory bounds)".to_owned(),
            };
            Err(Trap::Explicit(text).into())
        },
    )?;
    Ok(())
}
