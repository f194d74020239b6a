//! Accounts as they are stored: one fixed-size key per account.

use std::borrow::Cow;

use candid::Principal;
use ic_stable_structures::{Storable, storable::Bound};
use serde_bytes::ByteBuf;

use crate::{errors::Refusal, types::Account};

const OWNER_MAX: usize = Principal::MAX_LENGTH_IN_BYTES;
const SUBACCOUNT_LENGTH: usize = 32;
const OWNER_END: usize = 1 + OWNER_MAX;
const KEY_LENGTH: usize = OWNER_END + SUBACCOUNT_LENGTH;

/// An account in stable memory: the length of the owner, the owner padded with zeros, the subaccount.
///
/// The length keeps apart two owners that differ only in trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountKey([u8; KEY_LENGTH]);

impl AccountKey {
    /// The account of `owner` named by `subaccount`, which must have exactly 32 bytes if it is given.
    pub fn new(owner: Principal, subaccount: Option<&ByteBuf>) -> Result<Self, Refusal> {
        let owner = owner.as_slice();
        let mut key = [0; KEY_LENGTH];
        // A principal has at most 29 bytes, so its length fits the one byte it has here.
        key[0] = owner.len() as u8;
        key[1..=owner.len()].copy_from_slice(owner);
        key[OWNER_END..].copy_from_slice(&self::subaccount(subaccount)?);
        Ok(Self(key))
    }

    /// Whether both accounts belong to the same principal.
    pub fn same_owner(&self, other: &Self) -> bool {
        self.0[..OWNER_END] == other.0[..OWNER_END]
    }
}

/// The subaccount in full. For ICRC-1 no subaccount and 32 zero bytes are the same account: this is where that rule lives.
fn subaccount(given: Option<&ByteBuf>) -> Result<[u8; SUBACCOUNT_LENGTH], Refusal> {
    given.map_or(Ok([0; SUBACCOUNT_LENGTH]), |given| {
        <[u8; SUBACCOUNT_LENGTH]>::try_from(given.as_slice()).map_err(|_| Refusal::BadSubaccount {
            length: given.len(),
        })
    })
}

impl TryFrom<&Account> for AccountKey {
    type Error = Refusal;

    fn try_from(account: &Account) -> Result<Self, Refusal> {
        Self::new(account.owner, account.subaccount.as_ref())
    }
}

impl From<AccountKey> for Account {
    fn from(AccountKey(key): AccountKey) -> Self {
        let subaccount = &key[OWNER_END..];
        Self {
            owner: Principal::from_slice(&key[1..=usize::from(key[0])]),
            subaccount: (subaccount != [0; SUBACCOUNT_LENGTH])
                .then(|| ByteBuf::from(subaccount.to_vec())),
        }
    }
}

impl Storable for AccountKey {
    const BOUND: Bound = Bound::Bounded {
        max_size: KEY_LENGTH as u32,
        is_fixed_size: true,
    };

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        Self(<[u8; KEY_LENGTH]>::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Principal {
        Principal::from_slice(&[7, 0])
    }

    #[test]
    fn default_subaccount_has_one_key() {
        let absent = AccountKey::new(owner(), None).unwrap();
        let zeros = AccountKey::new(owner(), Some(&ByteBuf::from([0; 32]))).unwrap();
        assert_eq!(absent, zeros);
        assert_eq!(Account::from(zeros).subaccount, None);
    }

    #[test]
    fn owners_that_differ_in_trailing_zeros_differ() {
        let shorter = AccountKey::new(Principal::from_slice(&[7]), None).unwrap();
        let longer = AccountKey::new(owner(), None).unwrap();
        assert_ne!(shorter, longer);
        assert!(!shorter.same_owner(&longer));
    }

    #[test]
    fn accounts_survive_storage() {
        let account = Account {
            owner: Principal::from_slice(&[9; 29]),
            subaccount: Some(ByteBuf::from([3; 32])),
        };
        let key = AccountKey::try_from(&account).unwrap();
        assert_eq!(
            Account::from(AccountKey::from_bytes(key.to_bytes())),
            account
        );
    }

    #[test]
    fn a_subaccount_has_32_bytes() {
        for length in [0, 31, 33] {
            assert_eq!(
                AccountKey::new(owner(), Some(&ByteBuf::from(vec![0; length]))),
                Err(Refusal::BadSubaccount { length })
            );
        }
    }
}
