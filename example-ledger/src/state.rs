//! The ledger's state: all of it in stable memory, so an upgrade has nothing to save and nothing to load.

use std::fmt;

use candid::Principal;
use ic_stable_structures::{Memory, StableBTreeMap, StableCell};

use crate::{
    account::AccountKey,
    amount::{MAX_SUPPLY, saturated},
    approvals::Approvals,
    blocks::{Block, Effect, transaction},
    errors::Refusal,
    init::{Config, ConfigError, InitArgs, UpgradeArgs},
    log::{Log, Memories},
    types::Transaction,
};

/// Which memory holds what. Never renumbered: an upgraded canister finds its data by these numbers.
mod memory_ids {
    pub(super) const CONFIG: u8 = 0;
    pub(super) const TOTAL_SUPPLY: u8 = 1;
    pub(super) const BALANCES: u8 = 2;
    pub(super) const ALLOWANCES: u8 = 3;
    pub(super) const EXPIRATIONS: u8 = 4;
    pub(super) const LOGS: [(u8, u8); 2] = [(5, 6), (7, 8)];
    pub(super) const LOG_STATE: u8 = 9;
}

/// A ledger in stable memory.
pub struct Ledger<M: Memory> {
    /// The settings, decoded once.
    config: Config,
    /// The key of the configured minting account, which every transfer compares with.
    minting_account: AccountKey,
    /// The settings in candid, which lets later versions add some.
    stored_config: StableCell<Vec<u8>, M>,
    total_supply: StableCell<u128, M>,
    /// Accounts that hold something; an emptied one is removed.
    balances: StableBTreeMap<AccountKey, u128, M>,
    pub(crate) approvals: Approvals<M>,
    log: Log<M>,
}

impl<M: Memory> Ledger<M> {
    /// A new ledger in empty memories; `memory` gives the one of each number.
    pub fn create(
        memory: impl Fn(u8) -> M,
        args: &InitArgs,
        now: u64,
    ) -> Result<Self, ConfigError> {
        let bytes = encoded(&Config::new(args)?);
        let mut ledger = Self::stored(&memory, StableCell::new(memory(memory_ids::CONFIG), bytes))?;
        for (account, amount) in &args.initial_balances {
            let to = AccountKey::try_from(account)?;
            if ledger.is_minter(&to) {
                return Err(Refusal::MintToMinter.into());
            }
            let amount = saturated(amount);
            ledger.add_supply(amount)?;
            ledger.credit(to, amount);
            ledger.append(&Block {
                effect: Effect::Mint { to, amount },
                memo: None,
                created_at_time: None,
                timestamp: now,
            });
        }
        Ok(ledger)
    }

    /// The ledger that is in these memories.
    pub fn open(memory: impl Fn(u8) -> M) -> Result<Self, ConfigError> {
        let stored_config = StableCell::init(memory(memory_ids::CONFIG), Vec::new());
        Self::stored(memory, stored_config)
    }

    fn stored(
        memory: impl Fn(u8) -> M,
        stored_config: StableCell<Vec<u8>, M>,
    ) -> Result<Self, ConfigError> {
        let config: Config =
            candid::decode_one(stored_config.get()).map_err(|_| ConfigError::NoLedger)?;
        let config = config.openable()?;
        Ok(Self {
            minting_account: AccountKey::try_from(&config.minting_account)?,
            config,
            stored_config,
            total_supply: StableCell::init(memory(memory_ids::TOTAL_SUPPLY), 0),
            balances: StableBTreeMap::init(memory(memory_ids::BALANCES)),
            approvals: Approvals::init(
                memory(memory_ids::ALLOWANCES),
                memory(memory_ids::EXPIRATIONS),
            ),
            log: Log::init(Memories {
                state: memory(memory_ids::LOG_STATE),
                logs: memory_ids::LOGS.map(|(index, data)| (memory(index), memory(data))),
            }),
        })
    }

    /// Changes the settings named in `args`.
    pub fn configure(&mut self, args: UpgradeArgs) -> Result<(), ConfigError> {
        let config = self.config.clone().changed(args)?;
        self.stored_config.set(encoded(&config));
        self.config = config;
        Ok(())
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The number of tokens in all accounts, in the smallest unit.
    pub fn total_supply(&self) -> u128 {
        *self.total_supply.get()
    }

    /// The balance of an account.
    pub fn balance(&self, account: &AccountKey) -> u128 {
        self.balances.get(account).unwrap_or(0)
    }

    /// The number of transactions, which is the index of the next one.
    pub fn transaction_count(&self) -> u64 {
        self.log.len()
    }

    /// The transaction with the given index, if an archive doesn't have it.
    pub fn transaction(&self, index: u64) -> Option<Transaction> {
        let block = self.log.get(index)?;
        Some(transaction(&block).expect("the log holds what this ledger did"))
    }

    /// The blocks.
    pub fn log(&self) -> &Log<M> {
        &self.log
    }

    /// An archive has the blocks before `end`: the ledger forgets those that it may.
    pub fn confirm_archived(&mut self, archive: Principal, end: u64) {
        self.log.confirm(archive, end);
    }

    pub(crate) fn is_minter(&self, account: &AccountKey) -> bool {
        *account == self.minting_account
    }

    pub(crate) fn set_balance(&mut self, account: AccountKey, balance: u128) {
        if balance == 0 {
            self.balances.remove(&account);
        } else {
            self.balances.insert(account, balance);
        }
    }

    /// Room is never short here: no account holds more than the supply, and [`MAX_SUPPLY`] bounds that.
    pub(crate) fn credit(&mut self, account: AccountKey, amount: u128) {
        if amount > 0 {
            let balance = self.balance(&account);
            self.balances.insert(account, balance + amount);
        }
    }

    pub(crate) fn add_supply(&mut self, amount: u128) -> Result<(), Refusal> {
        let supply = self
            .total_supply()
            .checked_add(amount)
            .filter(|supply| *supply <= MAX_SUPPLY)
            .ok_or(Refusal::SupplyOverflow)?;
        self.total_supply.set(supply);
        Ok(())
    }

    /// Takes tokens out of the supply that some account has just lost.
    pub(crate) fn remove_supply(&mut self, amount: u128) {
        if amount > 0 {
            self.total_supply.set(self.total_supply() - amount);
        }
    }

    /// Records a transaction and gives its index.
    pub(crate) fn append(&mut self, block: &Block) -> u64 {
        self.log.append(block)
    }
}

impl<M: Memory> fmt::Debug for Ledger<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("config", &self.config)
            .field("total_supply", &self.total_supply())
            .finish_non_exhaustive()
    }
}

fn encoded(config: &Config) -> Vec<u8> {
    candid::encode_one(config).expect("settings are plain data")
}
