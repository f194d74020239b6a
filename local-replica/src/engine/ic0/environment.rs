//! Environment variables: a canister never has any here.

use super::*;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "ic0",
        "env_var_count",
        |mut caller: Caller<'_, State>| -> Result<u32> {
            enter(&mut caller, "env_var_count", ANY, BASIC)?;
            Ok(0)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "env_var_name_size",
        |mut caller: Caller<'_, State>, index: u32| -> Result<u32> {
            enter(&mut caller, "env_var_name_size", ANY, BASIC)?;
            no_index(index)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "env_var_name_copy",
        |mut caller: Caller<'_, State>, index: u32, _: u32, _: u32, size: u32| -> Result<()> {
            enter(
                &mut caller,
                "env_var_name_copy",
                ANY,
                BASIC + u64::from(size),
            )?;
            no_index(index)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "env_var_name_exists",
        |mut caller: Caller<'_, State>, name: u32, size: u32| -> Result<u32> {
            enter(&mut caller, "env_var_name_exists", ANY, BASIC)?;
            variable(&mut caller, "env_var_name_exists", name, size)?;
            Ok(0)
        },
    )?;
    linker.func_wrap(
        "ic0",
        "env_var_value_size",
        |mut caller: Caller<'_, State>, name: u32, size: u32| -> Result<u32> {
            enter(&mut caller, "env_var_value_size", ANY, BASIC)?;
            let name = variable(&mut caller, "env_var_value_size", name, size)?;
            violation(format!("Environment variable {name} not found."))
        },
    )?;
    linker.func_wrap(
        "ic0",
        "env_var_value_copy",
        |mut caller: Caller<'_, State>,
         name: u32,
         name_size: u32,
         _: u32,
         _: u32,
         size: u32|
         -> Result<()> {
            enter(
                &mut caller,
                "env_var_value_copy",
                ANY,
                BASIC + u64::from(size),
            )?;
            let name = variable(&mut caller, "env_var_value_copy", name, name_size)?;
            violation(format!("Environment variable {name} not found."))
        },
    )?;
    Ok(())
}

fn no_index<R>(index: u32) -> Result<R> {
    violation(format!(
        "Environment variable index {index} is out of bounds. The number of environment variables is 0."
    ))
}

/// The variable's name.
fn variable(caller: &mut Caller<'_, State>, call: &str, source: u32, size: u32) -> Result<String> {
    let bytes = read(caller, &format!("ic0.{call} heap"), source, size)?.to_vec();
    match String::from_utf8(bytes) {
        Ok(name) => Ok(name),
        Err(_) => violation(format!(
            "ic0.{call}: Variable name is not a valid UTF-8 string."
        )),
    }
}
