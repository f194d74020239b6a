//! Argument, caller and answer of a message.

use super::super::{Response, Trap};
use super::*;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    link_bytes(
        linker,
        "msg_arg_data",
        I | U | RQ | NRQ | CQ | RY | CRY | F,
        |state| &state.message.payload,
    )?;
    link_bytes(linker, "msg_caller", ANY, |state| {
        state.message.caller.as_slice()
    })?;
    link_bytes(linker, "msg_method_name", F, |state| {
        state.message.method_name.as_bytes()
    })?;
    link_bytes(linker, "msg_reject_msg", RT | CRT, |state| {
        state
            .message
            .reject
            .as_ref()
            .map_or(&[], |(_, text)| text.as_bytes())
    })?;
    // Attributes signed into a request by its sender: none are ever given here.
    link_bytes(
        linker,
        "msg_caller_info_data",
        U | RQ | NRQ | RY | RT | C | F | COMPOSITE,
        |_| &[],
    )?;
    link_bytes(
        linker,
        "msg_caller_info_signer",
        U | RQ | NRQ | RY | RT | C | F | COMPOSITE,
        |_| &[],
    )?;
    linker.func_wrap(
        "ic0",
        "msg_reject_code",
        |mut caller: Caller<'_, State>| -> Result<u32> {
            let modes = RY | RT | C | CRY | CRT | CC;
            enter(&mut caller, "msg_reject_code", modes, BASIC)?;
            Ok(caller
                .data()
                .message
                .reject
                .as_ref()
                .map_or(0, |(code, _)| *code))
        },
    )?;
    linker.func_wrap(
        "ic0",
        "msg_deadline",
        |mut caller: Caller<'_, State>| -> Result<u64> {
            let modes = U | RQ | NRQ | CQ | RY | RT | CRY | CRT;
            enter(&mut caller, "msg_deadline", modes, BASIC)?;
            Ok(caller.data().message.deadline_ns)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "accept_message",
        |mut caller: Caller<'_, State>| -> Result<()> {
            enter(&mut caller, "accept_message", F, BASIC)?;
            if std::mem::replace(&mut caller.data_mut().effects.accepted, true) {
                return violation(
                    "ic0.accept_message: the function was already called.".to_owned(),
                );
            }
            Ok(())
        },
    )?;
    link_answer(linker)
}

/// Who may answer.
const ANSWER: Modes = U | RQ | NRQ | CQ | RY | RT | CRY | CRT;

fn link_answer(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "ic0",
        "msg_reply_data_append",
        |mut caller: Caller<'_, State>, source: u32, size: u32| {
            let name = "msg_reply_data_append";
            enter(
                &mut caller,
                name,
                ANSWER,
                BASIC + TRANSMISSION * u64::from(size),
            )?;
            not_answered(&caller, name, ".")?;
            let total = caller.data().effects.reply.len() + size as usize;
            check_size(&caller, name, total)?;
            let bytes = read(&mut caller, "msg.reply", source, size)?.to_vec();
            caller.data_mut().effects.reply.extend(bytes);
            Ok(())
        },
    )?;
    linker.func_wrap(
        "ic0",
        "msg_reply",
        |mut caller: Caller<'_, State>| -> Result<()> {
            enter(&mut caller, "msg_reply", ANSWER, BASIC)?;
            not_answered(&caller, "msg_reply", "")?;
            let effects = &mut caller.data_mut().effects;
            effects.response = Some(Response::Reply(std::mem::take(&mut effects.reply)));
            Ok(())
        },
    )?;
    linker.func_wrap(
        "ic0",
        "msg_reject",
        |mut caller: Caller<'_, State>, source: u32, size: u32| {
            enter(
                &mut caller,
                "msg_reject",
                ANSWER,
                BASIC + TRANSMISSION * u64::from(size),
            )?;
            not_answered(&caller, "msg_reject", "")?;
            check_size(&caller, "msg_reject", size as usize)?;
            let bytes = read(&mut caller, "ic0.msg_reject", source, size)?.to_vec();
            let Ok(text) = String::from_utf8(bytes) else {
                return violation("ic0.msg_reject: invalid UTF-8 string provided".to_owned());
            };
            caller.data_mut().effects.response = Some(Response::Reject(text));
            Ok(())
        },
    )?;
    Ok(())
}

fn not_answered(caller: &Caller<'_, State>, name: &str, end: &str) -> Result<()> {
    let state = caller.data();
    if state.message.already_replied || state.effects.response.is_some() {
        return violation(format!("ic0.{name}: the call is already replied{end}"));
    }
    Ok(())
}

fn check_size(caller: &Caller<'_, State>, name: &str, size: usize) -> Result<(), Trap> {
    let (mode, _) = mode(&caller.data().message);
    let limit = if mode & (NRQ | COMPOSITE) == 0 {
        MAX_PAYLOAD
    } else {
        3 << 20
    };
    if size > limit {
        let text =
            format!("ic0.{name}: application payload size ({size}) cannot be larger than {limit}.");
        return Err(Trap::Contract(text));
    }
    Ok(())
}
