//! Certificates, signed as subnets sign theirs.

use candid::Principal;
use ic_certification::{Certificate, Delegation, HashTree, fork, labeled, leaf};
use ic_verify_bls_signature::PrivateKey;
use idempotency_core::Timestamp;

const DER_PREFIX: &[u8] = b"\x30\x81\x82\x30\x1d\x06\x0d\x2b\x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x01\x02\x01\x06\x0c\x2b\x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x02\x01\x03\x61\x00";

/// When certificates are made: half a century ago.
pub(super) const TIME: Timestamp = Timestamp::from_secs(77);

pub(super) struct Subnet(PrivateKey);

impl Subnet {
    /// The one with the root key.
    pub(super) fn root() -> Self {
        Self::new(1)
    }

    pub(super) fn new(number: u8) -> Self {
        Self(PrivateKey::deserialize(&[number; 32]).unwrap())
    }

    pub(super) fn key(&self) -> Vec<u8> {
        [DER_PREFIX, &self.0.public_key().serialize()].concat()
    }

    fn id(&self) -> Vec<u8> {
        Principal::self_authenticating(self.key()).as_slice().into()
    }

    pub(super) fn certificate(
        &self,
        tree: HashTree,
        delegation: Option<Delegation>,
    ) -> Certificate {
        let signed = [&b"\x0Dic-state-root"[..], &tree.digest()].concat();
        let signature = self.0.sign(&signed).serialize().into();
        Certificate {
            tree,
            signature,
            delegation,
        }
    }
}

pub(super) fn canister(number: u8) -> Principal {
    Principal::from_slice(&[number])
}

pub(super) fn dated(tree: HashTree) -> HashTree {
    fork(tree, labeled("time", leaf(number(TIME))))
}

/// The root's word that a subnet has the canisters 10 to 19; `shard` is where it says which.
pub(super) fn delegated(subnet: &Subnet, shard: impl FnOnce(HashTree) -> HashTree) -> HashTree {
    let ranges = encoded(&[(canister(10), canister(19))]);
    let shard = shard(labeled(canister(10).as_slice(), leaf(ranges)));
    let key = labeled("public_key", leaf(subnet.key()));
    dated(fork(
        labeled("canister_ranges", labeled(subnet.id(), shard)),
        labeled("subnet", labeled(subnet.id(), key)),
    ))
}

pub(super) fn delegation(subnet: &Subnet, certificate: &Certificate) -> Option<Delegation> {
    Some(Delegation {
        subnet_id: subnet.id(),
        certificate: encoded(certificate),
    })
}

pub(super) fn encoded(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = vec![];
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// As the IC writes times.
pub(super) fn number(time: Timestamp) -> Vec<u8> {
    let mut bytes = vec![];
    leb128::write::unsigned(&mut bytes, time.as_nanos()).unwrap();
    bytes
}
