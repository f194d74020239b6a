//! Certificates: parts of the state, signed by the subnet.
//!
//! Nothing is hashed or signed before somebody asks. A certificate's tree holds what was asked for and the neighbours that
//! prove what is absent; other requests and canisters of the subnet are left out instead of being hashed, so that a
//! certificate takes as long in a history of a million requests as in an empty one.

mod keys;
mod state;
mod tree;

pub(crate) use keys::SubnetKeys;
pub(crate) use tree::Tree;

use std::sync::Arc;

use candid::Principal;
use ic_certification::{Certificate, Delegation, HashTree};
use serde::Serialize;

use crate::engine::DataCertificate;
use crate::errors::ApiError;
use crate::replica::Replica;
use crate::topology::Subnet;

/// CBOR that says it is CBOR.
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];
const STATE_ROOT: &[u8] = b"\x0Dic-state-root";

/// Where a certificate that a subnet isn't the root of says which canisters are the subnet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// At `/subnet/<subnet>/canister_ranges`, as the older routes have it.
    Flat,
    /// At `/canister_ranges/<subnet>`, as the newer ones have it.
    Sharded,
    /// Nowhere: the request is about the subnet, not about a canister.
    LeftOut,
}

/// A value in CBOR, as the Internet Computer writes it.
pub(crate) fn cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = SELF_DESCRIBED.to_vec();
    // A `Vec` takes everything, and our own types have nothing that CBOR hasn't.
    ciborium::into_writer(value, &mut bytes).expect("encodes into memory");
    bytes
}

/// A certificate that wants nothing but its signatures, which take a millisecond each.
#[derive(Debug)]
pub struct Unsigned {
    tree: HashTree,
    keys: Arc<SubnetKeys>,
    delegation: Option<UnsignedDelegation>,
}

/// The root subnet's word for another subnet's key and canisters.
#[derive(Debug)]
struct UnsignedDelegation {
    subnet: Principal,
    tree: HashTree,
    keys: Arc<SubnetKeys>,
}

impl Unsigned {
    /// The certificate in CBOR.
    pub fn sign(self) -> Vec<u8> {
        let delegation = self.delegation.map(|delegation| Delegation {
            subnet_id: delegation.subnet.as_slice().to_vec(),
            certificate: signed(delegation.tree, &delegation.keys, None),
        });
        signed(self.tree, &self.keys, delegation)
    }
}

fn signed(tree: HashTree, keys: &SubnetKeys, delegation: Option<Delegation>) -> Vec<u8> {
    let signature = keys.sign(&[STATE_ROOT, &tree.digest()].concat());
    cbor(&Certificate {
        tree,
        signature,
        delegation,
    })
}

impl Replica {
    /// The public key, in DER, that every certificate of the instance goes back to: that of the NNS subnet, or of the first
    /// one where there is none.
    pub fn root_key(&self) -> Vec<u8> {
        self.topology.root().keys().public_key().to_vec()
    }

    /// The public key of a subnet, in DER.
    pub fn subnet_key(&self, id: Principal) -> Result<Vec<u8>, ApiError> {
        let subnet = self.topology.by_id(id);
        let subnet = subnet.ok_or_else(|| ApiError::subnet_not_found(id))?;
        Ok(subnet.keys().public_key().to_vec())
    }

    /// The state of a subnet at the given paths and its time, as of the last round. Who may see what is for the caller to
    /// check.
    pub fn certificate<P: AsRef<[L]>, L: AsRef<[u8]>>(
        &self,
        subnet: Principal,
        paths: &[P],
        ranges: Ranges,
    ) -> Result<Unsigned, ApiError> {
        let subnet = self
            .topology
            .by_id(subnet)
            .ok_or_else(|| ApiError::subnet_not_found(subnet))?;
        let mut paths: Vec<Vec<&[u8]>> = paths
            .iter()
            .map(|path| path.as_ref().iter().map(AsRef::as_ref).collect())
            .collect();
        paths.push(vec![b"time"]);
        Ok(Unsigned {
            tree: self.state_tree(subnet, &paths, ranges).witness(&paths),
            keys: Arc::clone(subnet.keys()),
            delegation: self.delegation(subnet, ranges),
        })
    }

    /// What proves a canister's certified data to a user, for a query. It is signed if the canister looks at it.
    pub(crate) fn data_certificate(
        &self,
        id: Principal,
        ranges: Ranges,
    ) -> Option<DataCertificate> {
        let canister = self.canisters.get(&id)?;
        let subnet = self.topology.by_id(canister.subnet)?;
        let data = canister.certified_data.clone();
        let keys = Arc::clone(subnet.keys());
        let delegation = self.delegation(subnet, ranges);
        let time_ns = self.round_time_ns;
        Some(DataCertificate::new(move || {
            let tree = state::certified_data(id, &data, time_ns);
            Unsigned {
                tree,
                keys,
                delegation,
            }
            .sign()
        }))
    }

    fn delegation(&self, subnet: &Subnet, ranges: Ranges) -> Option<UnsignedDelegation> {
        let root = self.topology.root();
        (root.id != subnet.id).then(|| UnsignedDelegation {
            subnet: subnet.id,
            tree: state::delegation(&self.topology, subnet, self.round_time_ns, ranges),
            keys: Arc::clone(root.keys()),
        })
    }
}
