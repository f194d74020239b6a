//! A canister's module, read, checked, instrumented and compiled.

use super::state::State;
use super::{ic0, instrument, validate};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use wasmtime::{Config, Engine, InstancePre, Linker, OptLevel};

/// Bytes of native stack that a message may use: tests call from threads that have 2 MiB.
const STACK: usize = 1 << 20;
/// The IC's limit for an unpacked module.
const MAX_MODULE: u64 = 100 << 20;
/// Instructions charged on installation for each Wasm instruction compiled.
const COMPILATION_COST: u64 = 6_000;

/// Why a module can't be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidModule {
    /// In the IC's words as far as they are known.
    #[error("{0}")]
    Invalid(String),
    /// Larger than the IC takes, once it is unpacked.
    #[error("Wasm module size of {size} exceeds the maximum allowed size of {allowed}.")]
    TooLarge {
        /// In bytes.
        size: u64,
        /// In bytes.
        allowed: u64,
    },
}

/// A custom section made for `canister_metadata`, e.g. `icp:public candid:service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Name without the `icp:public ` or `icp:private ` prefix.
    pub name: String,
    /// Readable by everyone, not only by controllers.
    pub public: bool,
    /// The section's content.
    pub content: Vec<u8>,
}

/// Bookkeeping that a module imports a system call for. What it can't see can't make a difference to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sees {
    /// The balance of cycles.
    pub(crate) cycles: bool,
    /// `canister_version`
    pub(crate) version: bool,
    /// The instructions of a call context.
    pub(crate) instructions: bool,
}

impl Sees {
    fn of(module: &wasmtime::Module) -> Self {
        let imports = |prefixes: &[&str]| {
            module.imports().any(|import| {
                let name = import.name();
                import.module() == "ic0" && prefixes.iter().any(|prefix| name.starts_with(prefix))
            })
        };
        Self {
            cycles: imports(&["canister_cycle_balance", "canister_liquid", "cycles_burn"]),
            version: imports(&["canister_version"]),
            instructions: imports(&["performance_counter"]),
        }
    }
}

/// A compiled module; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Module(Arc<Compiled>);

struct Compiled {
    hash: [u8; 32],
    exports: HashSet<String>,
    metadata: Vec<Metadata>,
    compiled_instructions: u64,
    mutable_globals: usize,
    changes_tables: bool,
    sees: Sees,
    instance_pre: InstancePre<State>,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("hash", &self.hash)
            .field("exports", &self.exports)
            .finish_non_exhaustive()
    }
}

/// The engine, and the system calls every module is linked to.
struct Host {
    engine: Engine,
    linker: Linker<State>,
}

static HOST: LazyLock<Result<Host, InvalidModule>> =
    LazyLock::new(|| host().map_err(|error| broken(&error)));

/// A module that several callers may be waiting for.
type Slot = Arc<OnceLock<Result<Module, InvalidModule>>>;

static MODULES: LazyLock<Mutex<HashMap<[u8; 32], Slot>>> = LazyLock::new(Mutex::default);

fn host() -> wasmtime::Result<Host> {
    let mut config = Config::new();
    config
        // Charges keep the optimiser from doing much: it made nothing faster, and compiling took two and a half times
        // as long.
        .cranelift_opt_level(OptLevel::None)
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(STACK)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(true);
    let engine = Engine::new(&config)?;
    let mut linker = Linker::new(&engine);
    ic0::link(&mut linker)?;
    Ok(Host { engine, linker })
}

fn broken(error: &wasmtime::Error) -> InvalidModule {
    InvalidModule::Invalid(format!("{error:#}"))
}

impl Module {
    /// Validates, instruments and compiles a module (plain or gzipped); once per process for the same bytes.
    pub fn compile(wasm: &[u8]) -> Result<Module, InvalidModule> {
        let hash: [u8; 32] = Sha256::digest(wasm).into();
        let slot = {
            let mut modules = MODULES
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(modules.entry(hash).or_default())
        };
        slot.get_or_init(|| Self::compile_new(hash, wasm)).clone()
    }

    fn compile_new(hash: [u8; 32], wasm: &[u8]) -> Result<Module, InvalidModule> {
        let host = HOST.as_ref().map_err(Clone::clone)?;
        let unpacked = unpack(wasm)?;
        let wasm = unpacked.as_deref().unwrap_or(wasm);
        let valid = validate::validate(wasm)?;
        let instrumented = instrument::instrument(wasm)
            .map_err(|error| InvalidModule::Invalid(error.to_string()))?;
        let module = wasmtime::Module::new(&host.engine, &instrumented.wasm)
            .map_err(|error| broken(&error))?;
        let instance_pre = host.linker.instantiate_pre(&module).map_err(|error| {
            InvalidModule::Invalid(format!(
                "Wasm module has an invalid import section. {error:#}"
            ))
        })?;
        Ok(Module(Arc::new(Compiled {
            hash,
            exports: valid.exports,
            metadata: valid.metadata,
            compiled_instructions: instrumented.compiled_instructions,
            mutable_globals: instrumented.mutable_globals,
            changes_tables: instrumented.changes_tables,
            sees: Sees::of(&module),
            instance_pre,
        })))
    }

    /// SHA-256 of the bytes as they were given.
    pub fn hash(&self) -> [u8; 32] {
        self.0.hash
    }

    /// Whether `canister_update NAME` is exported.
    pub fn has_update(&self, name: &str) -> bool {
        self.exports(&format!("canister_update {name}"))
    }

    /// Whether `canister_query NAME` is exported.
    pub fn has_query(&self, name: &str) -> bool {
        self.exports(&format!("canister_query {name}"))
    }

    /// Whether `canister_composite_query NAME` is exported.
    pub fn has_composite_query(&self, name: &str) -> bool {
        self.exports(&format!("canister_composite_query {name}"))
    }

    /// Whether the module has a start function.
    pub fn has_start(&self) -> bool {
        self.exports(instrument::START)
    }

    /// Whether `canister_init` is exported.
    pub fn has_init(&self) -> bool {
        self.exports("canister_init")
    }

    /// Whether `canister_pre_upgrade` is exported.
    pub fn has_pre_upgrade(&self) -> bool {
        self.exports("canister_pre_upgrade")
    }

    /// Whether `canister_post_upgrade` is exported.
    pub fn has_post_upgrade(&self) -> bool {
        self.exports("canister_post_upgrade")
    }

    /// Whether `canister_inspect_message` is exported.
    pub fn has_inspect_message(&self) -> bool {
        self.exports("canister_inspect_message")
    }

    /// Whether `canister_heartbeat` is exported.
    pub fn has_heartbeat(&self) -> bool {
        self.exports("canister_heartbeat")
    }

    /// Whether `canister_global_timer` is exported.
    pub fn has_global_timer(&self) -> bool {
        self.exports("canister_global_timer")
    }

    /// The module's public and private metadata sections.
    pub fn metadata(&self) -> &[Metadata] {
        &self.0.metadata
    }

    /// What compiling costs on installation: 6,000 instructions per Wasm instruction.
    pub fn compilation_instructions(&self) -> u64 {
        COMPILATION_COST * self.0.compiled_instructions
    }

    /// What its code can see of the replica's bookkeeping.
    pub(crate) fn sees(&self) -> Sees {
        self.0.sees
    }

    pub(super) fn mutable_globals(&self) -> usize {
        self.0.mutable_globals
    }

    pub(super) fn changes_tables(&self) -> bool {
        self.0.changes_tables
    }

    pub(super) fn engine(&self) -> &Engine {
        self.0.instance_pre.module().engine()
    }

    pub(super) fn instance_pre(&self) -> &InstancePre<State> {
        &self.0.instance_pre
    }

    fn exports(&self, name: &str) -> bool {
        self.0.exports.contains(name)
    }
}

/// The module inside of a gzip file; `None` if it's a plain one.
fn unpack(wasm: &[u8]) -> Result<Option<Vec<u8>>, InvalidModule> {
    const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];
    if !wasm.starts_with(&GZIP) {
        check_size(wasm.len() as u64)?;
        return Ok(None);
    }
    // A gzip file ends with the size of what is in it. The IC believes it, and refuses what is too large unread.
    let stated = wasm.last_chunk().copied().map_or(0, u32::from_le_bytes);
    check_size(stated.into())?;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(wasm)
        .take(u64::from(stated) + 1)
        .read_to_end(&mut plain)
        .map_err(|error| {
            InvalidModule::Invalid(format!("failed to decompress Wasm module: {error}"))
        })?;
    Ok(Some(plain))
}

fn check_size(size: u64) -> Result<(), InvalidModule> {
    if size > MAX_MODULE {
        return Err(InvalidModule::TooLarge {
            size,
            allowed: MAX_MODULE,
        });
    }
    Ok(())
}
