//! The queries of ICRC-3.

use candid::{Func, Nat, Principal};
use ic_stable_structures::Memory;
use idempotency_archive::icrc3::{
    ArchiveInfo, ArchivedBlocks, BlockWithId, GetArchivesArgs, GetBlocks, GetBlocksArg,
    GetBlocksResult,
};

use crate::state::Ledger;

/// The most blocks in an answer, and the most ranges of archived ones: about a megabyte.
pub const MAX_BLOCKS: usize = 1_000;

impl<M: Memory> Ledger<M> {
    /// `icrc3_get_blocks`: of each range the blocks that are here, and whom to ask for the others. If these are more than [`MAX_BLOCKS`],
    /// the rest is left out.
    pub fn get_blocks(&self, args: &[GetBlocksArg]) -> GetBlocksResult {
        let log = self.log();
        let mut blocks = vec![];
        let mut archived_blocks: Vec<ArchivedBlocks> = vec![];
        let mut room = MAX_BLOCKS;
        for arg in args {
            let start = number(&arg.start);
            let end = start.saturating_add(number(&arg.length));
            for (part, archive) in log.parts(start..end) {
                if room == 0 {
                    break;
                }
                match archive {
                    None => {
                        let found = part.take(room).filter_map(|index| {
                            Some(BlockWithId {
                                id: index.into(),
                                block: log.get(index)?,
                            })
                        });
                        let before = blocks.len();
                        blocks.extend(found);
                        room -= blocks.len() - before;
                    }
                    Some(canister) => {
                        let arg = GetBlocksArg {
                            start: part.start.into(),
                            length: (part.end - part.start).into(),
                        };
                        refer(&mut archived_blocks, canister, arg);
                        room -= 1;
                    }
                }
            }
        }
        GetBlocksResult {
            log_length: log.len().into(),
            blocks,
            archived_blocks,
        }
    }

    /// `icrc3_get_archives`: the archives that have blocks, after the one that was named.
    pub fn get_archives(&self, args: &GetArchivesArgs) -> Vec<ArchiveInfo> {
        let archived = self.log().archived();
        let seen = args.from.map_or(0, |from| {
            let last = archived.iter().rposition(|it| it.canister == from);
            last.map_or(archived.len(), |last| last + 1)
        });
        let rest = archived[seen..].iter();
        rest.map(|it| ArchiveInfo {
            canister_id: it.canister,
            start: it.start.into(),
            end: (it.end - 1).into(),
        })
        .collect()
    }
}

fn refer(archived_blocks: &mut Vec<ArchivedBlocks>, canister: Principal, arg: GetBlocksArg) {
    let known = archived_blocks
        .iter_mut()
        .find(|it| it.callback.0.principal == canister);
    match known {
        Some(known) => known.args.push(arg),
        None => archived_blocks.push(ArchivedBlocks {
            args: vec![arg],
            callback: GetBlocks(Func {
                principal: canister,
                method: "icrc3_get_blocks".to_owned(),
            }),
        }),
    }
}

/// A number that no block has stands for all that are larger.
fn number(nat: &Nat) -> u64 {
    u64::try_from(&nat.0).unwrap_or(u64::MAX)
}
