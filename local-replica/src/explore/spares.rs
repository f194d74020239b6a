//! Instances that no canister has at the moment: making a new one takes longer than all else in a step.

use std::collections::HashMap;

use crate::engine::{HeapSnapshot, Instance, Module, Trap};

/// Of a module and size. Small ones turn into larger ones all the time.
const MOST: usize = 4;

/// Hash of a module.
type Hash = [u8; 32];

#[derive(Debug, Default)]
pub(super) struct Spares {
    /// What a module starts with.
    fresh: HashMap<Hash, HeapSnapshot>,
    /// By module and bytes of heap: a heap can't shrink, and one that grew would be missing where a small one is needed.
    instances: HashMap<(Hash, u64), Vec<Instance>>,
}

impl Spares {
    /// Puts an instance away.
    pub(super) fn put(&mut self, instance: Instance) {
        let shelf = (instance.module().hash(), instance.heap_size());
        let shelf = self.instances.entry(shelf).or_default();
        if shelf.len() < MOST {
            shelf.push(instance);
        }
    }

    /// An instance in the state of a snapshot: `old`, if it is of the same module and size.
    pub(super) fn load(
        &mut self,
        snapshot: &HeapSnapshot,
        old: Option<Instance>,
    ) -> Result<Instance, Trap> {
        let shelf = (snapshot.module().hash(), snapshot.heap_bytes() as u64);
        let fits = |old: &Instance| (old.module().hash(), old.heap_size()) == shelf;
        let instance = match old {
            Some(old) if fits(&old) => Some(old),
            other => {
                if let Some(other) = other {
                    self.put(other);
                }
                self.instances.get_mut(&shelf).and_then(Vec::pop)
            }
        };
        let fresh = self.start_of(snapshot.module())?;
        Instance::load(snapshot, instance, &fresh)
    }

    /// An instance as a module starts with.
    pub(super) fn fresh(&mut self, module: &Module) -> Result<Instance, Trap> {
        let snapshot = self.start_of(module)?;
        self.load(&snapshot, None)
    }

    /// Lets an instance share the pages that it has in common with a fresh one.
    pub(super) fn adopt(&mut self, instance: &mut Instance) -> Result<(), Trap> {
        let module = instance.module().clone();
        instance.compare_with(&self.start_of(&module)?);
        Ok(())
    }

    fn start_of(&mut self, module: &Module) -> Result<HeapSnapshot, Trap> {
        if let Some(snapshot) = self.fresh.get(&module.hash()) {
            return Ok(snapshot.clone());
        }
        let mut instance = Instance::new(module)?;
        let snapshot = instance.save()?;
        self.put(instance);
        self.fresh.insert(module.hash(), snapshot.clone());
        Ok(snapshot)
    }
}
