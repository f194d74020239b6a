//! Cycles that come with a message, and the balance.

use super::*;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    link_amount(linker, "msg_cycles_available", U | RQ | RY | RT, |state| {
        state
            .message
            .cycles_available
            .saturating_sub(state.effects.cycles_accepted)
    })?;
    link_amount(linker, "msg_cycles_refunded", RY | RT, |state| {
        state.message.cycles_refunded
    })?;
    link_amount(linker, "canister_cycle_balance", ANY, State::balance)?;
    linker.func_wrap(
        "ic0",
        "canister_liquid_cycle_balance128",
        |mut caller: Caller<'_, State>, target: u32| {
            let name = "canister_liquid_cycle_balance128";
            enter(&mut caller, name, ANY, BASIC)?;
            let balance = caller.data().liquid_balance();
            write(&mut caller, name, target, &balance.to_le_bytes())
        },
    )?;
    linker.func_wrap(
        "ic0",
        "msg_cycles_accept",
        |mut caller: Caller<'_, State>, most: u64| -> Result<u64> {
            // Never more than `most`, so it fits.
            Ok(accept(&mut caller, "msg_cycles_accept", u128::from(most))? as u64)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "msg_cycles_accept128",
        |mut caller: Caller<'_, State>, high: u64, low: u64, target: u32| {
            let accepted = accept(&mut caller, "msg_cycles_accept128", amount(high, low))?;
            write(
                &mut caller,
                "msg_cycles_accept128",
                target,
                &accepted.to_le_bytes(),
            )
        },
    )?;
    linker.func_wrap(
        "ic0",
        "cycles_burn128",
        |mut caller: Caller<'_, State>, high: u64, low: u64, target: u32| {
            enter(
                &mut caller,
                "cycles_burn128",
                I | G | U | RQ | RY | RT | C | T,
                BASIC,
            )?;
            let burned = amount(high, low).min(caller.data().liquid_balance());
            caller.data_mut().effects.cycles_burned += burned;
            write(&mut caller, "cycles_burn128", target, &burned.to_le_bytes())
        },
    )?;
    linker.func_wrap(
        "ic0",
        "mint_cycles128",
        |_: u64, _: u64, _: u32| -> Result<()> { unsupported("mint_cycles128") },
    )?;
    linker.func_wrap("ic0", "mint_cycles", |_: u64| -> Result<u64> {
        unsupported("mint_cycles")
    })?;
    Ok(())
}

/// Defines `THING128` and its 64-bit forerunner `THING`.
fn link_amount(
    linker: &mut Linker<State>,
    thing: &'static str,
    modes: Modes,
    value: fn(&State) -> u128,
) -> Result<()> {
    linker.func_wrap(
        "ic0",
        thing,
        move |mut caller: Caller<'_, State>| -> Result<u64> {
            enter(&mut caller, thing, modes, BASIC)?;
            u64::try_from(value(caller.data())).map_err(|_| {
                Trap::Wasm("cycles amount exceeds 64-bit representation".to_owned()).into()
            })
        },
    )?;
    let name = format!("{thing}128");
    linker.func_wrap(
        "ic0",
        &name.clone(),
        move |mut caller: Caller<'_, State>, target: u32| -> Result<()> {
            enter(&mut caller, &name, modes, BASIC)?;
            let value = value(caller.data());
            write(&mut caller, &name, target, &value.to_le_bytes())
        },
    )?;
    Ok(())
}

fn accept(caller: &mut Caller<'_, State>, name: &str, most: u128) -> Result<u128> {
    enter(caller, name, U | RQ | RY | RT, BASIC)?;
    let available = caller.data().message.cycles_available;
    let effects = &mut caller.data_mut().effects;
    let accepted = most.min(available.saturating_sub(effects.cycles_accepted));
    effects.cycles_accepted += accepted;
    Ok(accepted)
}
