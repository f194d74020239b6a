//! The state tree of a subnet, as far as a certificate needs it.

use std::collections::BTreeSet;

use candid::Principal;
use ic_certification::HashTree;

use super::{Ranges, Tree, cbor};
use crate::canister::Canister;
use crate::ingress::RequestStatus;
use crate::replica::Replica;
use crate::topology::{Subnet, Topology};

impl Replica {
    /// The tree with the canisters and requests that the paths lead to, and those on either side of them.
    pub(super) fn state_tree(&self, subnet: &Subnet, paths: &[Vec<&[u8]>], ranges: Ranges) -> Tree {
        let second = |first: &'static [u8]| {
            paths
                .iter()
                .filter(move |path| path.first() == Some(&first))
                .filter_map(|path| path.get(1).copied())
        };
        let mut canisters = Tree::new();
        for label in second(b"canister") {
            for canister in self.around(subnet, label) {
                canisters = canisters.with(canister.id.as_slice(), of_canister(canister));
            }
        }
        let mut requests = Tree::new();
        for label in second(b"request_status") {
            for id in self.ingress.around(subnet.id, label) {
                if let Some(status) = self.request_status(&id) {
                    requests = requests.with(&id, of_request(status));
                }
            }
        }
        of_subnets(&self.topology, subnet.id, self.round_time_ns, ranges)
            .with("canister", canisters)
            .with("request_status", requests)
    }

    /// The canister with this label, the last before it and the first after it.
    fn around(&self, subnet: &Subnet, label: &[u8]) -> impl Iterator<Item = &Canister> {
        let on_subnet = || {
            let id = subnet.id;
            self.canisters.values().filter(move |it| it.subnet == id)
        };
        let below = on_subnet()
            .filter(|canister| canister.id.as_slice() < label)
            .max_by_key(|canister| canister.id.as_slice());
        let itself = on_subnet().find(|canister| canister.id.as_slice() == label);
        let above = on_subnet()
            .filter(|canister| canister.id.as_slice() > label)
            .min_by_key(|canister| canister.id.as_slice());
        [below, itself, above].into_iter().flatten()
    }
}

/// What proves certified data, and no more.
pub(super) fn certified_data(id: Principal, data: &[u8], time_ns: u64) -> HashTree {
    let canister = Tree::new().with_leaf("certified_data", data);
    let canisters = Tree::new().with(id.as_slice(), canister);
    Tree::new()
        .with_leaf("time", number(time_ns))
        .with("canister", canisters)
        .witness(&[[] as [&[u8]; 0]])
}

/// The root subnet's word for another subnet's key and canisters.
pub(super) fn delegation(
    topology: &Topology,
    subnet: &Subnet,
    time_ns: u64,
    ranges: Ranges,
) -> HashTree {
    let id = subnet.id.as_slice();
    let mut paths: Vec<&[&[u8]]> = vec![&[b"time"]];
    let key: [&[u8]; 3] = [b"subnet", id, b"public_key"];
    let flat: [&[u8]; 3] = [b"subnet", id, b"canister_ranges"];
    let sharded: [&[u8]; 2] = [b"canister_ranges", id];
    paths.push(&key);
    match ranges {
        Ranges::Flat => paths.push(&flat),
        Ranges::Sharded => paths.push(&sharded),
        Ranges::LeftOut => {}
    }
    of_subnets(topology, topology.root().id, time_ns, Ranges::Flat).witness(&paths)
}

/// Time and subnets, as the subnet `own` knows them: nodes are known of itself only. But for the root's the flat ranges are
/// hidden from those who were told to look elsewhere.
fn of_subnets(topology: &Topology, own: Principal, time_ns: u64, ranges: Ranges) -> Tree {
    let mut subnets = Tree::new();
    let mut all_ranges = Tree::new();
    for subnet in topology.subnets() {
        let own_ranges = subnet.canister_ranges();
        let encoded = cbor(&own_ranges);
        let flat = Tree::Leaf(encoded.clone());
        let shows_flat = ranges == Ranges::Flat || subnet.id == topology.root().id;
        let flat = if shows_flat { flat } else { flat.hidden() };
        // One shard, labelled by its first canister.
        let mut shards = Tree::new();
        if let Some((first, _)) = own_ranges.first() {
            shards = shards.with_leaf(first.as_slice(), encoded);
        }
        all_ranges = all_ranges.with(subnet.id.as_slice(), shards);
        let keys = subnet.keys();
        let mut tree = Tree::new()
            .with("canister_ranges", flat)
            .with_leaf("public_key", keys.public_key())
            .with_leaf("type", subnet.kind_name());
        if subnet.id == own {
            let node = Tree::new().with_leaf("public_key", keys.node_public_key());
            tree = tree.with("node", Tree::new().with(keys.node_id().as_slice(), node));
        }
        subnets = subnets.with(subnet.id.as_slice(), tree);
    }
    Tree::new()
        .with_leaf("time", number(time_ns))
        .with("subnet", subnets)
        .with("canister_ranges", all_ranges)
}

fn of_canister(canister: &Canister) -> Tree {
    let controllers: BTreeSet<&Principal> = canister.settings.controllers.iter().collect();
    let tree = Tree::new().with_leaf("controllers", cbor(&controllers));
    let Some(module) = canister.module() else {
        return tree;
    };
    let metadata = module.metadata().iter().fold(Tree::new(), |tree, section| {
        tree.with_leaf(&section.name, section.content.as_slice())
    });
    tree.with_leaf("certified_data", canister.certified_data.as_slice())
        .with_leaf("module_hash", module.hash())
        .with("metadata", metadata)
}

fn of_request(status: RequestStatus) -> Tree {
    let tree = Tree::new().with_leaf("status", status.name());
    match status {
        RequestStatus::Replied(reply) => tree.with_leaf("reply", reply),
        RequestStatus::Rejected(reject) => tree
            .with_leaf("reject_code", number(reject.code() as u64))
            .with_leaf("reject_message", reject.message)
            .with_leaf("error_code", reject.error.to_string()),
        RequestStatus::Received | RequestStatus::Processing | RequestStatus::Done => tree,
    }
}

/// Numbers in the tree are unsigned LEB128.
fn number(number: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    // A `Vec` takes everything.
    leb128::write::unsigned(&mut encoded, number).expect("encodes into memory");
    encoded
}
