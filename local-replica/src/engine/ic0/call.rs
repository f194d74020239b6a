//! Calls to other canisters: put together, and sent once the message has succeeded.

use super::super::{Closure, OutgoingCall};
use super::cost::call_fee;
use super::*;
use candid::Principal;

/// The IC's limit for method names.
const MAX_METHOD_NAME: u32 = 20_000;
/// `SysTransient`: the request couldn't be sent.
const TRANSIENT: u32 = 2;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap("ic0", "call_new", call_new)?;
    linker.func_wrap("ic0", "call_data_append", |mut caller: Caller<'_, State>, source: u32, size: u32| {
        let name = "call_data_append";
        enter(&mut caller, name, CALL, BASIC + TRANSMISSION * u64::from(size))?;
        let total = staged(&mut caller, name)?.payload.len() + size as usize;
        if total > MAX_PAYLOAD {
            return violation(format!(
                "ic0.{name}: application payload size ({total}) cannot be larger than {MAX_PAYLOAD}."
            ));
        }
        let bytes = read(&mut caller, "ic0.call_data_append", source, size)?.to_vec();
        staged(&mut caller, name)?.payload.extend(bytes);
        Ok(())
    })?;
    linker.func_wrap("ic0", "call_on_cleanup", |mut caller: Caller<'_, State>, function: u32, environment: u32| {
        let name = "call_on_cleanup";
        enter(&mut caller, name, CALL, BASIC)?;
        let call = staged(&mut caller, name)?;
        if call.on_cleanup.replace(Closure { function, environment }).is_some() {
            return violation(
                "ic0.call_on_cleanup can be called at most once between `ic0.call_new` and `ic0.call_perform`"
                    .to_owned(),
            );
        }
        Ok(())
    })?;
    linker.func_wrap(
        "ic0",
        "call_with_best_effort_response",
        |mut caller: Caller<'_, State>, seconds: u32| {
            let name = "call_with_best_effort_response";
            enter(&mut caller, name, CALL, BASIC)?;
            if staged(&mut caller, name)?
                .timeout_seconds
                .replace(seconds)
                .is_some()
            {
                return violation(format!(
                    "ic0_{name} failed because a timeout is already set."
                ));
            }
            Ok(())
        },
    )?;
    linker.func_wrap(
        "ic0",
        "call_cycles_add128",
        |mut caller: Caller<'_, State>, high: u64, low: u64| {
            add_cycles(&mut caller, "call_cycles_add128", amount(high, low))
        },
    )?;
    linker.func_wrap(
        "ic0",
        "call_cycles_add",
        |mut caller: Caller<'_, State>, cycles: u64| {
            add_cycles(&mut caller, "call_cycles_add", u128::from(cycles))
        },
    )?;
    linker.func_wrap("ic0", "call_perform", call_perform)?;
    Ok(())
}

/// Who may call.
const CALL: Modes = U | CQ | RY | RT | CRY | CRT | T;
/// Who may attach cycles: queries have none to spend.
const PAY: Modes = U | RY | RT | T;

/// The call being put together.
fn staged<'a>(caller: &'a mut Caller<'_, State>, name: &str) -> Result<&'a mut OutgoingCall> {
    match &mut caller.data_mut().effects.staged {
        Some(call) => Ok(call),
        None => violation(format!(
            "ic0.{name} called when no call is under construction."
        )),
    }
}

#[allow(
    clippy::too_many_arguments,
    reason = "as the interface specification has it"
)]
fn call_new(
    mut caller: Caller<'_, State>,
    callee: u32,
    callee_size: u32,
    name: u32,
    name_size: u32,
    reply_function: u32,
    reply_environment: u32,
    reject_function: u32,
    reject_environment: u32,
) -> Result<()> {
    let sizes = u64::from(callee_size) + u64::from(name_size);
    charge(&mut caller, 1_500 + sizes)?;
    enter(&mut caller, "call_new", CALL, 0)?;
    if name_size > MAX_METHOD_NAME {
        return violation(format!(
            "ic0.call_new: size of method name ({name_size}) exceeds the allowed limit of {MAX_METHOD_NAME}"
        ));
    }
    let callee = read(&mut caller, "ic0.call_new callee_src", callee, callee_size)?;
    let Ok(callee) = Principal::try_from_slice(callee) else {
        return violation("Canister provided invalid principal id".to_owned());
    };
    let method = read(&mut caller, "ic0.call_new method_name", name, name_size)?.to_vec();
    let Ok(method) = String::from_utf8(method) else {
        return violation("ic0.call_new: method name is not a valid UTF-8 string".to_owned());
    };
    // A call that was being put together is given up, and its cycles come back.
    caller.data_mut().effects.staged = Some(OutgoingCall {
        callee,
        method,
        payload: Vec::new(),
        cycles: 0,
        on_reply: Closure {
            function: reply_function,
            environment: reply_environment,
        },
        on_reject: Closure {
            function: reject_function,
            environment: reject_environment,
        },
        on_cleanup: None,
        timeout_seconds: None,
    });
    Ok(())
}

fn add_cycles(caller: &mut Caller<'_, State>, name: &str, cycles: u128) -> Result<()> {
    enter(caller, name, PAY, BASIC)?;
    staged(caller, name)?;
    if caller.data().liquid_balance() < cycles {
        return Err(Trap::OutOfCycles.into());
    }
    let call = staged(caller, name)?;
    call.cycles = call.cycles.saturating_add(cycles);
    Ok(())
}

fn call_perform(mut caller: Caller<'_, State>) -> Result<u32> {
    enter(&mut caller, "call_perform", CALL, 5_000)?;
    let call = staged(&mut caller, "call_perform")?;
    let bytes = (call.method.len() + call.payload.len()) as u64;
    let cycles = call.cycles;
    let fee = if caller.data().message.composite {
        0
    } else {
        call_fee(bytes)
    };
    let affordable = caller.data().liquid_balance() >= fee;
    let effects = &mut caller.data_mut().effects;
    let call = effects.staged.take();
    if !affordable {
        return Ok(TRANSIENT);
    }
    effects.cycles_sent = effects
        .cycles_sent
        .saturating_add(cycles)
        .saturating_add(fee);
    effects.calls.extend(call);
    Ok(0)
}
