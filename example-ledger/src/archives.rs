//! The ledger's archives, as the library is told of them.

use candid::Principal;
use idempotency_core::archive::{self, ArchivePolicy, Keep};

use crate::{
    ARCHIVES, TRANSACTIONS, archiving,
    init::{ArchiveArgs, ArchiveSource, Kept},
    types::ArchiveStatus,
    with_ledger,
};

/// Nothing, if the ledger has none.
fn settings() -> Option<ArchiveArgs> {
    with_ledger(|ledger| ledger.config().archives.clone())
}

/// The number of blocks that the ledger keeps itself, if it has archives.
pub(crate) fn keep_blocks() -> Option<u64> {
    with_ledger(|ledger| Some(ledger.config().archives.as_ref()?.keep_blocks))
}

/// What archives keep of a transaction.
pub(crate) fn keep() -> Option<Keep> {
    let kept = settings()?.keep.unwrap_or(Kept::Replies);
    Some(match kept {
        Kept::Ids => Keep::Ids,
        Kept::Digests => Keep::Digests,
        Kept::Replies => Keep::Replies,
    })
}

/// Where they come from. Only asked for if there are some.
pub(crate) fn policy() -> ArchivePolicy {
    match settings().map(|settings| settings.source) {
        Some(ArchiveSource::Module(module)) => {
            let chunks: Vec<_> = module.chunks.iter().map(|hash| **hash).collect();
            let policy = ArchivePolicy::stored(*module.hash, chunks);
            match module.cycles {
                Some(cycles) => policy.cycles(cycles.into()),
                None => policy,
            }
        }
        Some(ArchiveSource::Canisters(canisters)) => ArchivePolicy::given(canisters),
        None => ArchivePolicy::given([]),
    }
}

/// Begins: in `init` and `post_upgrade`.
pub(crate) fn install() {
    if keep().is_some() {
        archive::install(&TRANSACTIONS, &ARCHIVES);
        archiving::drive::install();
    }
}

/// Those that may be given blocks, in the order in which they are filled.
pub(crate) fn canisters() -> Vec<Principal> {
    match settings().map(|settings| settings.source) {
        Some(ArchiveSource::Canisters(canisters)) => canisters,
        // Its memory is the library's, which says what is wrong with it.
        Some(ArchiveSource::Module(_)) => ARCHIVES
            .with(|archives| archives.canisters())
            .unwrap_or_default(),
        None => vec![],
    }
}

/// How the archives are, if there are some.
pub(crate) fn status() -> Option<ArchiveStatus> {
    keep_blocks()?;
    let (archived_blocks, kept_blocks) = with_ledger(|ledger| {
        let log = ledger.log();
        (log.first(), log.len() - log.first())
    });
    let overview = ARCHIVES.with(|archives| archives.overview());
    let (waiting_transactions, trouble) = match overview {
        Ok(overview) => (
            overview.waiting,
            overview.trouble.map(|it| it.problem.to_string()),
        ),
        Err(damaged) => (0, Some(damaged.to_string())),
    };
    Some(ArchiveStatus {
        archives: canisters(),
        waiting_transactions,
        archived_blocks,
        kept_blocks,
        trouble: trouble
            .into_iter()
            .chain(archiving::drive::trouble())
            .collect(),
    })
}
