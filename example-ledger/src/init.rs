//! What the ledger is told when it is installed or upgraded.

use candid::{CandidType, Nat, Principal};
use serde::Deserialize;
use serde_bytes::ByteArray;
use thiserror::Error;

use crate::{
    account::AccountKey,
    amount::saturated,
    errors::Refusal,
    types::{Account, MetadataValue},
};

/// How transactions are stored: as blocks of ICRC-3. Layout 1 had records without hashes.
pub(crate) const LAYOUT: u32 = 2;

const DEFAULT_DECIMALS: u8 = 8;
const DEFAULT_MAX_MEMO_LENGTH: u16 = 32;

/// The ledger keeps the memo of every transaction for good.
const MAX_MEMO_LENGTH: u16 = 256;

/// The entries of `icrc1_metadata` the ledger writes itself.
const OWN_METADATA: [&str; 5] = [
    "icrc1:name",
    "icrc1:symbol",
    "icrc1:decimals",
    "icrc1:fee",
    "icrc1:max_memo_length",
];

/// The argument of an installation or upgrade.
#[derive(CandidType, Deserialize, Clone, Debug)]
pub enum LedgerArg {
    /// The argument of an installation.
    Init(InitArgs),
    /// The argument of an upgrade; `null` changes nothing.
    Upgrade(Option<UpgradeArgs>),
}

/// The settings of a new ledger. The fields are those of other ICRC ledgers, without the fields for what this ledger does not
/// have (an index canister, a fee collector, feature flags). Candid ignores them if they are sent.
#[derive(CandidType, Deserialize, Clone, Debug)]
pub struct InitArgs {
    /// `icrc1_name`.
    pub token_name: String,
    /// `icrc1_symbol`.
    pub token_symbol: String,
    /// `icrc1_decimals`; 8 if absent.
    pub decimals: Option<u8>,
    /// `icrc1_fee`, which is also the smallest amount that can be burned.
    pub transfer_fee: Nat,
    /// `icrc1_minting_account`.
    pub minting_account: Account,
    /// The balances that are minted at installation.
    pub initial_balances: Vec<(Account, Nat)>,
    /// Further entries of `icrc1_metadata`, such as `icrc1:logo`.
    pub metadata: Vec<(String, MetadataValue)>,
    /// The longest memo in bytes, at most 256; 32 if absent.
    pub max_memo_length: Option<u16>,
    /// Archives for old transactions; if absent, the ledger keeps all blocks, and remembers for a day what must not be executed again.
    pub archives: Option<ArchiveArgs>,
}

/// The settings to change in an existing ledger. What is absent stays as it is.
#[derive(CandidType, Deserialize, Clone, Debug, Default)]
pub struct UpgradeArgs {
    /// `icrc1_name`.
    pub token_name: Option<String>,
    /// `icrc1_symbol`.
    pub token_symbol: Option<String>,
    /// `icrc1_fee`, which is also the smallest amount that can be burned.
    pub transfer_fee: Option<Nat>,
    /// Further entries of `icrc1_metadata`, in place of those that were given before.
    pub metadata: Option<Vec<(String, MetadataValue)>>,
    /// The longest memo in bytes, at most 256.
    pub max_memo_length: Option<u16>,
    /// Archives for old transactions. A ledger that has had some once always has some.
    pub archives: Option<ArchiveArgs>,
}

/// Canisters that keep what the ledger does not: what must not be executed again, for ever, and its old blocks.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ArchiveArgs {
    /// Where they come from.
    pub source: ArchiveSource,
    /// What they keep of a transaction besides what it takes to recognise it; if absent, its reply: a retry after years gets `Duplicate`
    /// with the index of the block.
    pub keep: Option<Kept>,
    /// The number of blocks that the ledger keeps itself: the last ones, and at least one.
    pub keep_blocks: u64,
}

/// Where archives come from.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ArchiveSource {
    /// They are there: canisters with the module of `idempotency-archive`, installed with the ledger as their owner. They are filled in this
    /// order; an upgrade may add more.
    Canisters(Vec<Principal>),
    /// The ledger creates them when it needs them, of a module that lies in its own chunk store.
    Module(ArchiveModule),
}

/// The module that archives are made of.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ArchiveModule {
    /// Its SHA-256.
    pub hash: ByteArray<32>,
    /// Those of its chunks, in their order.
    pub chunks: Vec<ByteArray<32>>,
    /// The balance in cycles that a new archive gets, and that it is kept at, beyond the freezing threshold; 2 T if absent.
    pub cycles: Option<u64>,
}

/// What archives keep of a transaction.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing more. A late retry is told when it was executed, and not with which result.
    Ids,
    /// The digest of the reply.
    Digests,
    /// The reply.
    Replies,
}

impl ArchiveSource {
    fn is_nothing(&self) -> bool {
        match self {
            Self::Canisters(canisters) => canisters.is_empty(),
            Self::Module(module) => module.chunks.is_empty(),
        }
    }
}

/// Why a ledger can't be made, changed or opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// An account or an initial balance can't be used.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The fee is out of range.
    #[error("the transfer fee must be below 2^128 - 1")]
    FeeTooLarge,
    /// The memo limit is out of range.
    #[error("max_memo_length is at most {MAX_MEMO_LENGTH}")]
    MemoLimitTooLarge,
    /// A metadata entry that the ledger provides itself.
    #[error("the ledger itself provides the metadata entry {0}")]
    OwnMetadata(String),
    /// A metadata key that does not have the form of ICRC-1.
    #[error("a metadata key has the form namespace:key, and {0:?} does not")]
    MetadataKey(String),
    /// The stable memory holds no ledger.
    #[error(
        "there is no ledger in this canister's stable memory; install it with the Init argument"
    )]
    NoLedger,
    /// There is nothing that could be an archive.
    #[error("archives are given, or made of a module that has chunks: there is none")]
    NoArchive,
    /// The stable memory holds a ledger of an earlier version.
    #[error(
        "the ledger in this canister's stable memory has layout {0}, and this version can open layout {LAYOUT} only; its transactions are no \
         blocks of ICRC-3. Install the version that made it"
    )]
    OtherLayout(u32),
}

/// The settings of a ledger, as they are stored.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `icrc1_name`.
    pub token_name: String,
    /// `icrc1_symbol`.
    pub token_symbol: String,
    /// `icrc1_decimals`.
    pub decimals: u8,
    /// `icrc1_fee`.
    pub transfer_fee: u128,
    /// `icrc1_minting_account`.
    pub minting_account: Account,
    /// The entries of `icrc1_metadata` that aren't the ledger's own.
    pub metadata: Vec<(String, MetadataValue)>,
    /// The longest memo in bytes.
    pub max_memo_length: u16,
    /// The layout of the stable memory. Layout 1 doesn't say so.
    pub layout: Option<u32>,
    /// Archives for old transactions.
    pub archives: Option<ArchiveArgs>,
}

impl Config {
    /// The settings `args` ask for.
    pub fn new(args: &InitArgs) -> Result<Self, ConfigError> {
        let config = Self {
            token_name: args.token_name.clone(),
            token_symbol: args.token_symbol.clone(),
            decimals: args.decimals.unwrap_or(DEFAULT_DECIMALS),
            transfer_fee: saturated(&args.transfer_fee),
            minting_account: AccountKey::try_from(&args.minting_account)?.into(),
            metadata: args.metadata.clone(),
            max_memo_length: args.max_memo_length.unwrap_or(DEFAULT_MAX_MEMO_LENGTH),
            layout: Some(LAYOUT),
            archives: args.archives.clone(),
        };
        config.checked()
    }

    /// These settings with the changes `args` ask for.
    pub fn changed(self, args: UpgradeArgs) -> Result<Self, ConfigError> {
        let config = Self {
            token_name: args.token_name.unwrap_or(self.token_name),
            token_symbol: args.token_symbol.unwrap_or(self.token_symbol),
            transfer_fee: args
                .transfer_fee
                .map_or(self.transfer_fee, |fee| saturated(&fee)),
            metadata: args.metadata.unwrap_or(self.metadata),
            max_memo_length: args.max_memo_length.unwrap_or(self.max_memo_length),
            decimals: self.decimals,
            minting_account: self.minting_account,
            layout: self.layout,
            archives: args.archives.or(self.archives),
        };
        config.checked()
    }

    /// All of `icrc1_metadata`.
    pub fn all_metadata(&self) -> Vec<(String, MetadataValue)> {
        let values = [
            MetadataValue::Text(self.token_name.clone()),
            MetadataValue::Text(self.token_symbol.clone()),
            MetadataValue::Nat(self.decimals.into()),
            MetadataValue::Nat(self.transfer_fee.into()),
            MetadataValue::Nat(self.max_memo_length.into()),
        ];
        OWN_METADATA
            .map(str::to_owned)
            .into_iter()
            .zip(values)
            .chain(self.metadata.iter().cloned())
            .collect()
    }

    /// These settings, if this version can open a ledger that has them.
    pub(crate) fn openable(self) -> Result<Self, ConfigError> {
        match self.layout.unwrap_or(1) {
            LAYOUT => Ok(self),
            other => Err(ConfigError::OtherLayout(other)),
        }
    }

    fn checked(self) -> Result<Self, ConfigError> {
        if self.transfer_fee == u128::MAX {
            return Err(ConfigError::FeeTooLarge);
        }
        if self.max_memo_length > MAX_MEMO_LENGTH {
            return Err(ConfigError::MemoLimitTooLarge);
        }
        let archives = self.archives.as_ref().map(|archives| &archives.source);
        if archives.is_some_and(ArchiveSource::is_nothing) {
            return Err(ConfigError::NoArchive);
        }
        for (key, _) in &self.metadata {
            if OWN_METADATA.contains(&key.as_str()) {
                return Err(ConfigError::OwnMetadata(key.clone()));
            }
            if !key.contains(':') {
                return Err(ConfigError::MetadataKey(key.clone()));
            }
        }
        Ok(self)
    }
}
