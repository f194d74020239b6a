//! example-ledger
