//! Subnets by name: kinds, identifiers and canister ranges. One scheduler serves them all.

use candid::Principal;
use pocket_ic::common::rest::{
    CanisterCyclesCostSchedule, CanisterIdRange, ExtendedSubnetConfigSet, SubnetConfig,
    SubnetInstructionConfig, SubnetKind, SubnetSpec, Topology as RawTopology,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

use crate::certification::SubnetKeys;
use crate::errors::ApiError;

const IDS_PER_SUBNET: u64 = 1 << 20;

/// One subnet.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// Its principal.
    pub id: Principal,
    kind: SubnetKind,
    seed: [u8; 32],
    instructions: SubnetInstructionConfig,
    cost_schedule: CanisterCyclesCostSchedule,
    keys: Arc<SubnetKeys>,
    /// The last range is where new canisters get their ids.
    ranges: Vec<(u64, u64)>,
    next_index: u64,
}

impl Subnet {
    /// System subnets and those with the free schedule charge nothing.
    pub fn is_free(&self) -> bool {
        self.cost_schedule == CanisterCyclesCostSchedule::Free
            || matches!(
                self.kind,
                SubnetKind::NNS | SubnetKind::System | SubnetKind::Bitcoin
            )
    }

    /// Created with the very high limits for benchmarks.
    pub fn is_benchmarking(&self) -> bool {
        self.instructions == SubnetInstructionConfig::Benchmarking
    }

    /// The keys that it and its node sign with.
    pub(crate) fn keys(&self) -> &Arc<SubnetKeys> {
        &self.keys
    }

    /// The first and the last canister of each range, in order.
    pub(crate) fn canister_ranges(&self) -> Vec<(Principal, Principal)> {
        let mut ranges = self.ranges.clone();
        ranges.sort_unstable();
        let ids = |(start, end)| (canister_id(start), canister_id(end));
        ranges.into_iter().map(ids).collect()
    }

    /// Its kind, as the state tree names it.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self.kind {
            SubnetKind::Application => "application",
            SubnetKind::VerifiedApplication => "verified_application",
            SubnetKind::CloudEngine => "cloud_engine",
            _ => "system",
        }
    }

    fn contains(&self, index: u64) -> bool {
        self.ranges
            .iter()
            .any(|(start, end)| (*start..=*end).contains(&index))
    }
}

/// All subnets of an instance, in the order PocketIC makes them.
#[derive(Clone, Debug)]
pub struct Topology {
    subnets: Vec<Subnet>,
}

impl Topology {
    /// The subnets asked for, or why they can't be had.
    pub fn new(config: &ExtendedSubnetConfigSet) -> Result<Self, ApiError> {
        config.validate().map_err(ApiError::bad_request)?;
        let named = [
            (SubnetKind::NNS, &config.nns),
            (SubnetKind::SNS, &config.sns),
            (SubnetKind::II, &config.ii),
            (SubnetKind::Fiduciary, &config.fiduciary),
            (SubnetKind::Bitcoin, &config.bitcoin),
            (SubnetKind::TestThresholdKeys, &config.test_threshold_keys),
        ]
        .into_iter()
        .filter_map(|(kind, spec)| spec.as_ref().map(|spec| (kind, spec)));
        let many = [
            (SubnetKind::System, &config.system),
            (SubnetKind::Application, &config.application),
            (
                SubnetKind::VerifiedApplication,
                &config.verified_application,
            ),
            (SubnetKind::CloudEngine, &config.cloud_engine),
        ]
        .into_iter()
        .flat_map(|(kind, specs)| specs.iter().map(move |spec| (kind, spec)));
        let subnets = named
            .chain(many)
            .enumerate()
            .map(|(index, (kind, spec))| subnet(index as u64, kind, spec))
            .collect::<Result<_, _>>()?;
        Ok(Self { subnets })
    }

    /// As the client gets it.
    pub fn to_raw(&self) -> RawTopology {
        let subnet_configs = self
            .subnets
            .iter()
            .map(|subnet| {
                let config = SubnetConfig {
                    subnet_kind: subnet.kind,
                    subnet_admins: None,
                    cost_schedule: subnet.cost_schedule,
                    subnet_seed: subnet.seed,
                    instruction_config: subnet.instructions.clone(),
                    canister_ranges: subnet
                        .ranges
                        .iter()
                        .map(|(start, end)| CanisterIdRange {
                            start: canister_id(*start).into(),
                            end: canister_id(*end).into(),
                        })
                        .collect(),
                };
                (subnet.id, config)
            })
            .collect();
        let start = self
            .default_subnet()
            .ranges
            .last()
            .map_or(0, |range| range.0);
        RawTopology {
            subnet_configs,
            default_effective_canister_id: canister_id(start).into(),
        }
    }

    /// The subnet hosting (or able to host) this canister id.
    pub fn of_canister(&self, id: Principal) -> Option<&Subnet> {
        let index = canister_index(id)?;
        self.subnets.iter().find(|subnet| subnet.contains(index))
    }

    /// The subnet with this principal.
    pub fn by_id(&self, id: Principal) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.id == id)
    }

    /// All subnets.
    pub(crate) fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }

    /// The subnet whose key all certificates go back to: the NNS, or the first one where there is none.
    pub(crate) fn root(&self) -> &Subnet {
        // `Topology::new` refuses an empty set, and makes the NNS first.
        self.subnets.first().expect("at least one subnet")
    }

    /// Where a canister goes when the client names no place.
    pub fn default_subnet(&self) -> &Subnet {
        let rank = |subnet: &&Subnet| match subnet.kind {
            SubnetKind::Application => 0,
            SubnetKind::VerifiedApplication => 1,
            SubnetKind::System => 2,
            _ => 3,
        };
        // `Topology::new` refuses an empty set.
        self.subnets
            .iter()
            .min_by_key(rank)
            .expect("at least one subnet")
    }

    /// Whether this id is one of those that a subnet gives to new canisters.
    pub fn allocates(&self, subnet: Principal, id: Principal) -> bool {
        let range = self.by_id(subnet).and_then(|subnet| subnet.ranges.last());
        match (range, canister_index(id)) {
            (Some((start, end)), Some(index)) => (*start..=*end).contains(&index),
            _ => false,
        }
    }

    /// The next unused canister id of a subnet.
    pub fn next_canister_id(
        &mut self,
        subnet: Principal,
        taken: impl Fn(Principal) -> bool,
    ) -> Option<Principal> {
        let subnet = self.subnets.iter_mut().find(|s| s.id == subnet)?;
        let (start, end) = *subnet.ranges.last()?;
        while start + subnet.next_index <= end {
            let id = canister_id(start + subnet.next_index);
            subnet.next_index += 1;
            if !taken(id) {
                return Some(id);
            }
        }
        None
    }
}

fn subnet(index: u64, kind: SubnetKind, spec: &SubnetSpec) -> Result<Subnet, ApiError> {
    if spec.get_state_path().is_some() || !spec.is_supported() {
        return Err(ApiError::unsupported("subnet state from a path or blob"));
    }
    if spec.get_subnet_admins().is_some() {
        return Err(ApiError::unsupported("subnet admins"));
    }
    let seed: [u8; 32] = Sha256::new()
        .chain_update(b"local-replica subnet")
        .chain_update(index.to_be_bytes())
        .finalize()
        .into();
    // As PocketIC does, from the second highest block downwards: the first canister of a plain instance is
    // lxzze-o7777-77777-aaaaa-cai there and here.
    let start = u64::MAX - (index + 2) * IDS_PER_SUBNET + 1;
    let mut ranges = mainnet_ranges(kind);
    ranges.push((start, start + IDS_PER_SUBNET - 1));
    let keys = SubnetKeys::of(index);
    Ok(Subnet {
        id: keys.subnet_id(),
        kind,
        seed,
        instructions: spec.get_instruction_config(),
        cost_schedule: spec.get_cost_schedule(),
        keys,
        ranges,
        next_index: 0,
    })
}

fn mainnet_ranges(kind: SubnetKind) -> Vec<(u64, u64)> {
    let block = |n: u64| (n * IDS_PER_SUBNET, (n + 1) * IDS_PER_SUBNET - 1);
    match kind {
        SubnetKind::NNS => vec![(0, 6), (8, IDS_PER_SUBNET - 1)],
        SubnetKind::II => vec![(7, 7), block(0x21)],
        SubnetKind::SNS => vec![block(0x20)],
        SubnetKind::Bitcoin => vec![block(0x1a)],
        SubnetKind::Fiduciary => vec![block(0x23)],
        _ => Vec::new(),
    }
}

fn canister_id(index: u64) -> Principal {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    bytes[8..].copy_from_slice(&[1, 1]);
    Principal::from_slice(&bytes)
}

fn canister_index(id: Principal) -> Option<u64> {
    let (index, suffix) = id.as_slice().split_first_chunk::<8>()?;
    (suffix == [1, 1]).then(|| u64::from_be_bytes(*index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_canister_has_pocket_ics_id() {
        let config = ExtendedSubnetConfigSet {
            application: vec![SubnetSpec::default()],
            ..Default::default()
        };
        let mut topology = Topology::new(&config).unwrap();
        let subnet = topology.default_subnet().id;
        let id = topology.next_canister_id(subnet, |_| false).unwrap();
        assert_eq!(id.to_text(), "lxzze-o7777-77777-aaaaa-cai");
        assert_eq!(topology.of_canister(id).unwrap().id, subnet);
    }
}
