//! The keys of subnets and of their nodes.
//!
//! They follow from the number of the subnet alone, the same in every run, and whoever reads this can sign with them: they
//! prove nothing to anybody but a test.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use candid::Principal;
use ic_verify_bls_signature::PrivateKey;
use sha2::{Digest, Sha256};

/// What stands before the 96 bytes of a BLS public key.
const DER_PREFIX: [u8; 37] =
    *b"\x30\x81\x82\x30\x1d\x06\x0d\x2b\x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x01\x02\x01\x06\x0c\x2b\x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x02\x01\x03\x61\x00";

/// Making a key takes longer than most tests' messages.
static KEYS: Mutex<BTreeMap<u64, Arc<SubnetKeys>>> = Mutex::new(BTreeMap::new());

/// The keys of one subnet, and of its only node.
pub(crate) struct SubnetKeys {
    secret: PrivateKey,
    public_key: Vec<u8>,
    node_secret: ic_ed25519::PrivateKey,
    node_public_key: Vec<u8>,
}

impl SubnetKeys {
    /// The keys of the subnet with this number.
    pub(crate) fn of(index: u64) -> Arc<Self> {
        let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            keys.entry(index)
                .or_insert_with(|| Arc::new(Self::new(index))),
        )
    }

    fn new(index: u64) -> Self {
        let mut scalar = seed(b"local-replica test-only subnet key", index);
        // Below the order of the group, which has 255 bits.
        scalar[0] &= 0x3f;
        let secret =
            PrivateKey::deserialize(&scalar).expect("a number of 254 bits is in the range");
        let public_key = [&DER_PREFIX[..], &secret.public_key().serialize()].concat();
        let node = seed(b"local-replica test-only node key", index);
        let node_secret = ic_ed25519::PrivateKey::deserialize_raw_32(&node);
        let node_public_key = node_secret.public_key().serialize_rfc8410_der();
        Self {
            secret,
            public_key,
            node_secret,
            node_public_key,
        }
    }

    /// The subnet's public key in DER.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The subnet's principal.
    pub(crate) fn subnet_id(&self) -> Principal {
        Principal::self_authenticating(&self.public_key)
    }

    /// The subnet's signature, 48 bytes long.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.secret.sign(message).serialize().to_vec()
    }

    /// The node's public key in DER.
    pub(crate) fn node_public_key(&self) -> &[u8] {
        &self.node_public_key
    }

    /// The node's principal.
    pub(crate) fn node_id(&self) -> Principal {
        Principal::self_authenticating(&self.node_public_key)
    }

    /// The node's signature.
    pub(crate) fn sign_as_node(&self, message: &[u8]) -> Vec<u8> {
        self.node_secret.sign_message(message).to_vec()
    }
}

impl Debug for SubnetKeys {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "SubnetKeys({})", self.subnet_id())
    }
}

fn seed(purpose: &[u8], index: u64) -> [u8; 32] {
    Sha256::new()
        .chain_update(purpose)
        .chain_update(index.to_be_bytes())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use ic_verify_bls_signature::verify_bls_signature;

    use super::*;

    #[test]
    fn signatures_verify_with_the_public_key() {
        let keys = SubnetKeys::of(3);
        let (prefix, key) = keys.public_key().split_at(DER_PREFIX.len());
        assert_eq!((prefix, key.len()), (&DER_PREFIX[..], 96));
        let signature = keys.sign(b"message");
        assert_eq!(verify_bls_signature(&signature, b"message", key), Ok(()));
        assert_eq!(verify_bls_signature(&signature, b"another", key), Err(()));
        let node = ic_ed25519::PublicKey::deserialize_rfc8410_der(keys.node_public_key()).unwrap();
        let signature = keys.sign_as_node(b"message");
        assert_eq!(node.verify_signature(b"message", &signature), Ok(()));
    }

    #[test]
    fn keys_are_the_same_in_every_run_and_no_two_alike() {
        assert_eq!(
            SubnetKeys::of(0).subnet_id().to_text(),
            "c3grh-s4p7s-v6nr6-qsn3h-yenv7-m7mvd-xdu55-tbip3-bsgwz-t4vtx-vae"
        );
        let ids: std::collections::BTreeSet<_> = (0..4)
            .flat_map(|index| {
                let keys = SubnetKeys::of(index);
                [keys.subnet_id(), keys.node_id()]
            })
            .collect();
        assert_eq!(ids.len(), 8);
    }
}
