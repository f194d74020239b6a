//! A canister's heap and globals, and the execution of messages on them.

use super::{Execution, Message, Module, StableMemory, Trap};

/// A module with its heap, globals and table.
#[derive(Debug)]
pub struct Instance {
    module: Module,
}

impl Instance {
    /// A fresh heap with the module's data segments; runs no code (execute [`super::Entry::Start`] for that).
    pub fn new(module: &Module) -> Result<Instance, Trap> {
        Ok(Instance { module: module.clone() })
    }

    /// Runs one message and commits or undoes what it did to heap, globals and stable memory.
    pub fn execute(&mut self, _stable: &mut StableMemory, _message: &Message) -> Execution {
        Execution {
            result: Err(Trap::OutOfInstructions),
            response: None,
            calls: Vec::new(),
            cycles_accepted: 0,
            cycles_burned: 0,
            certified_data: None,
            global_timer: None,
            accepted: false,
            instructions: 0,
            dirty_heap_pages: 0,
            log: Vec::new(),
        }
    }

    /// The module this is an instance of.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Bytes of heap.
    pub fn heap_size(&self) -> u64 {
        0
    }
}
