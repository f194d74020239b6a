//! The archives that the ledger was given, or makes.

use candid::Principal;
