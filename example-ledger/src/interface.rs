//! `ledger.did` against the code, and against the standards.

use candid_parser::utils::{CandidSource, service_compatible};

use super::*;

candid::export_service!();

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ledger.did");

/// `UPDATE_DID=1 cargo test -p example-ledger` writes the file anew.
#[test]
fn ledger_did_is_what_the_code_exports() {
    let exported = __export_service();
    if std::env::var_os("UPDATE_DID").is_some() {
        let lines: String = exported
            .lines()
            .flat_map(|line| [line.trim_end(), "\n"])
            .collect();
        std::fs::write(FILE, lines).unwrap();
    }
    let written = std::fs::read_to_string(FILE).unwrap();
    assert!(
        without_comments(&written).eq(without_comments(&exported)),
        "ledger.did is out of date: run this test with UPDATE_DID=1"
    );
}

/// A reworded comment is no change of the interface.
fn without_comments(did: &str) -> impl Iterator<Item = &str> {
    did.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The types both standards share.
const COMMON: &str = "
type Account = record { owner : principal; subaccount : opt blob };
type Standard = record { name : text; url : text };
";

const ICRC_1: &str = "
type TransferArg = record {
  from_subaccount : opt blob; to : Account; amount : nat; fee : opt nat; memo : opt blob; created_at_time : opt nat64;
};
type TransferError = variant {
  BadFee : record { expected_fee : nat };
  BadBurn : record { min_burn_amount : nat };
  InsufficientFunds : record { balance : nat };
  TooOld;
  CreatedInFuture : record { ledger_time : nat64 };
  Duplicate : record { duplicate_of : nat };
  TemporarilyUnavailable;
  GenericError : record { error_code : nat; message : text };
};
service : {
  icrc1_name : () -> (text) query;
  icrc1_symbol : () -> (text) query;
  icrc1_decimals : () -> (nat8) query;
  icrc1_fee : () -> (nat) query;
  icrc1_metadata : () -> (vec record { text; variant { Nat : nat; Int : int; Text : text; Blob : blob } }) query;
  icrc1_total_supply : () -> (nat) query;
  icrc1_minting_account : () -> (opt Account) query;
  icrc1_balance_of : (Account) -> (nat) query;
  icrc1_transfer : (TransferArg) -> (variant { Ok : nat; Err : TransferError });
  icrc1_supported_standards : () -> (vec Standard) query;
}
";

const ICRC_2: &str = "
type ApproveArgs = record {
  from_subaccount : opt blob; spender : Account; amount : nat; expected_allowance : opt nat; expires_at : opt nat64;
  fee : opt nat; memo : opt blob; created_at_time : opt nat64;
};
type ApproveError = variant {
  BadFee : record { expected_fee : nat };
  InsufficientFunds : record { balance : nat };
  AllowanceChanged : record { current_allowance : nat };
  Expired : record { ledger_time : nat64 };
  TooOld;
  CreatedInFuture : record { ledger_time : nat64 };
  Duplicate : record { duplicate_of : nat };
  TemporarilyUnavailable;
  GenericError : record { error_code : nat; message : text };
};
type TransferFromArgs = record {
  spender_subaccount : opt blob; from : Account; to : Account; amount : nat; fee : opt nat; memo : opt blob;
  created_at_time : opt nat64;
};
type TransferFromError = variant {
  BadFee : record { expected_fee : nat };
  BadBurn : record { min_burn_amount : nat };
  InsufficientFunds : record { balance : nat };
  InsufficientAllowance : record { allowance : nat };
  TooOld;
  CreatedInFuture : record { ledger_time : nat64 };
  Duplicate : record { duplicate_of : nat };
  TemporarilyUnavailable;
  GenericError : record { error_code : nat; message : text };
};
service : {
  icrc1_supported_standards : () -> (vec Standard) query;
  icrc2_approve : (ApproveArgs) -> (variant { Ok : nat; Err : ApproveError });
  icrc2_transfer_from : (TransferFromArgs) -> (variant { Ok : nat; Err : TransferFromError });
  icrc2_allowance : (record { account : Account; spender : Account }) ->
    (record { allowance : nat; expires_at : opt nat64 }) query;
}
";

const ICRC_3: &str = "
type Value = variant { Blob : blob; Text : text; Nat : nat; Int : int; Array : vec Value; Map : vec record { text; Value } };
type GetBlocksArgs = vec record { start : nat; length : nat };
type GetBlocksResult = record {
  log_length : nat;
  blocks : vec record { id : nat; block : Value };
  archived_blocks : vec record { args : GetBlocksArgs; callback : func (GetBlocksArgs) -> (GetBlocksResult) query };
};
service : {
  icrc3_get_archives : (record { from : opt principal }) ->
    (vec record { canister_id : principal; start : nat; end : nat }) query;
  icrc3_get_tip_certificate : () -> (opt record { certificate : blob; hash_tree : blob }) query;
  icrc3_get_blocks : (GetBlocksArgs) -> (GetBlocksResult) query;
  icrc3_supported_block_types : () -> (vec record { block_type : text; url : text }) query;
}
";

fn assert_is_subtype_of(standard: &str) {
    let exported = __export_service();
    let (ours, theirs) = (CandidSource::Text(&exported), CandidSource::Text(standard));
    service_compatible(ours, theirs).unwrap();
}

#[test]
fn the_interface_is_a_subtype_of_the_standards() {
    for standard in [ICRC_1, ICRC_2, ICRC_3] {
        assert_is_subtype_of(&format!("{COMMON}{standard}"));
    }
}

/// The files are not part of this project: `IDEMPOTENCY_SCHEMAS` names the folder that has them.
#[test]
fn the_interface_is_a_subtype_of_the_standards_as_published() {
    let Some(folder) = std::env::var_os("IDEMPOTENCY_SCHEMAS").map(std::path::PathBuf::from) else {
        println!("not checked: IDEMPOTENCY_SCHEMAS names no folder with the standards' interfaces");
        return;
    };
    for file in ["ICRC-1.did", "ICRC-2.did", "ICRC-3.did"] {
        assert_is_subtype_of(&std::fs::read_to_string(folder.join(file)).unwrap());
    }
}
