//! Upgrading archives that this canister has made.

use super::{
    handle::{Access, Archives},
    records::Archive,
};
use crate::runtime::{Canister, Runtime};
use candid::Principal;
use ic_management_canister_types::CanisterInstallMode;
use ic_stable_structures::Memory;
use std::thread::LocalKey;

/// What became of an archive that was to be upgraded.
pub type Upgraded = (Principal, Result<(), String>);

/// Upgrades the archives that this canister has made to the module that its policy has now: one after the other, those that have another one
/// and are controlled by this canister. For each the result of the call; if one is not upgraded, those after it are tried all the same, and
/// whoever calls again upgrades those that are left.
///
/// Call it from an update method that only operators may call. An archive is at work again as soon as it is upgraded, and what it was sent
/// meanwhile is sent again.
pub async fn upgrade_archives<M: Memory>(
    archives: &'static LocalKey<Archives<M>>,
) -> Vec<Upgraded> {
    upgrade(Canister, archives).await
}

pub(super) async fn upgrade(runtime: impl Runtime, archives: impl Access) -> Vec<Upgraded> {
    let mut upgraded = vec![];
    for number in archives.with(Archives::outdated) {
        let call = archives.with(|archives| archives.upgrade_of(number, &runtime));
        let Some((canister, module, call)) = call else {
            continue;
        };
        let result = match runtime.call(call).await {
            Ok(_) => {
                archives.with(|archives| archives.is_upgraded(number, module));
                Ok(())
            }
            Err(rejected) => Err(format!(
                "reject code {}: {}",
                rejected.code, rejected.message
            )),
        };
        upgraded.push((canister, result));
    }
    upgraded
}

impl<M: Memory> Archives<M> {
    /// The numbers of the archives that are to be upgraded.
    fn outdated(&self) -> Vec<u32> {
        let (Some(module), Ok(contents)) = (self.module_hash(), self.contents()) else {
            return vec![];
        };
        let archives = (0..).zip(contents.archives());
        archives
            .filter(|(_, it)| it.is_made && !it.is_blackholed && it.module != module)
            .map(|(number, _)| number)
            .collect()
    }

    fn upgrade_of(
        &self,
        number: u32,
        runtime: &impl Runtime,
    ) -> Option<(Principal, [u8; 32], crate::runtime::Outgoing)> {
        let module = self.module_hash()?;
        let canister = self.contents().ok()?.archive(number)?.canister;
        let no_argument = candid::encode_args(()).unwrap_or_default();
        let mode = CanisterInstallMode::Upgrade(None);
        let call = self.install(canister, mode, no_argument, runtime.canister());
        Some((canister, module, call))
    }

    fn is_upgraded(&self, number: u32, module: [u8; 32]) {
        if let Ok(mut contents) = self.contents()
            && let Some(known) = contents.archive(number).copied()
        {
            contents.set(number, Archive { module, ..known });
        }
    }
}
