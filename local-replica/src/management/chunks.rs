//! The chunk store: modules that don't fit into one message.

use candid::Principal;
use ic_management_canister_types::{
    CanisterIdRecord, ChunkHash, InstallChunkedCodeArgs, UploadChunkArgs,
};
use pocket_ic::ErrorCode;
use sha2::{Digest, Sha256};

use super::code::Installation;
use super::{Answer, decode, done, reply};
use crate::canister::Canister;
use crate::errors::Reject;
use crate::replica::Replica;

const MAX_CHUNK: usize = 1 << 20;
const MAX_CHUNKS: usize = 100;

impl Replica {
    pub(super) fn upload_chunk(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let args: UploadChunkArgs = decode(payload)?;
        let canister = self.owned_store(sender, args.canister_id, "upload_chunk")?;
        if args.chunk.len() > MAX_CHUNK {
            return Err(contract(format!(
                "Wasm chunk size {} exceeds the maximum chunk size of {MAX_CHUNK}",
                args.chunk.len()
            )));
        }
        let hash = Sha256::digest(&args.chunk).to_vec();
        if canister.chunks.len() >= MAX_CHUNKS && !canister.chunks.contains_key(&hash) {
            return Err(contract(format!(
                "Wasm chunk store has already reached maximum capacity of {MAX_CHUNKS} chunks"
            )));
        }
        canister.chunks.insert(hash.clone(), args.chunk);
        reply(&ChunkHash { hash }).map(Some)
    }

    pub(super) fn clear_chunk_store(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let args: CanisterIdRecord = decode(payload)?;
        let canister = self.owned_store(sender, args.canister_id, "clear_chunk_store")?;
        canister.chunks.clear();
        done(Ok(()))
    }

    pub(super) fn stored_chunks(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let args: CanisterIdRecord = decode(payload)?;
        let canister = self.owned_store(sender, args.canister_id, "stored_chunks")?;
        let chunks: Vec<ChunkHash> = canister
            .chunks
            .keys()
            .map(|hash| ChunkHash { hash: hash.clone() })
            .collect();
        reply(&chunks).map(Some)
    }

    pub(super) fn install_chunked_code(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let args: InstallChunkedCodeArgs = decode(payload)?;
        let store = args.store_canister.unwrap_or(args.target_canister);
        let store = self.owned_store(sender, store, "install_chunked_code")?;
        let mut wasm = Vec::new();
        for ChunkHash { hash } in &args.chunk_hashes_list {
            let chunk = store.chunks.get(hash).ok_or_else(|| {
                contract("Chunk hash was not found in the chunk store".to_owned())
            })?;
            wasm.extend_from_slice(chunk);
        }
        if Sha256::digest(&wasm)[..] != args.wasm_module_hash[..] {
            return Err(contract(
                "Wasm module hash does not match the hash of the chunks".to_owned(),
            ));
        }
        done(self.install(Installation {
            sender,
            canister: args.target_canister,
            mode: args.mode,
            wasm,
            arg: args.arg,
        }))
    }

    /// A chunk store may be used by controllers and by the canister itself.
    fn owned_store(
        &mut self,
        sender: Principal,
        id: Principal,
        method: &str,
    ) -> Result<&mut Canister, Reject> {
        if sender == id {
            self.canister(id)
        } else {
            self.controlled(sender, id, method)
        }
    }
}

fn contract(text: String) -> Reject {
    Reject::new(ErrorCode::CanisterContractViolation, text)
}
