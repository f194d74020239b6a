//! A canister's heap and globals, and the execution of messages on them.

use super::instrument::{COUNTER, DIRTY, HEAP, START, TABLE, global_name};
use super::snapshot::Mirror;
use super::stable::{PAGE, WASM_PAGE};
use super::state::{Handles, State};
use super::{Closure, Entry, Execution, HeapSnapshot, Message, Module, StableMemory, Trap, TrapAt};
use wasmtime::{Global, Ref, Store, Table, TypedFunc, Val};

/// A module with its heap, globals and table.
#[derive(Debug)]
pub struct Instance {
    module: Module,
    store: Store<State>,
    instance: wasmtime::Instance,
    handles: Handles,
    globals: Vec<Global>,
    table: Option<Table>,
    /// What the heap held at the last snapshot, if there was one.
    mirror: Option<Mirror>,
}

/// An exported function or a callback, ready to be called.
enum Function {
    Export(TypedFunc<(), ()>),
    Callback(TypedFunc<u32, ()>, u32),
}

impl Instance {
    /// A fresh heap with the module's data segments; runs no code (execute [`super::Entry::Start`] for that).
    pub fn new(module: &Module) -> Result<Instance, Trap> {
        let missing = |name: &str| Trap::Wasm(format!("the module has no {name}"));
        let mut store = Store::new(module.engine(), State::idle());
        let instance = module
            .instance_pre()
            .instantiate(&mut store)
            .map_err(|error| Trap::of(&error))?;
        let handles = Handles {
            heap: instance
                .get_memory(&mut store, HEAP)
                .ok_or_else(|| missing(HEAP))?,
            dirty: instance
                .get_memory(&mut store, DIRTY)
                .ok_or_else(|| missing(DIRTY))?,
            counter: instance
                .get_global(&mut store, COUNTER)
                .ok_or_else(|| missing(COUNTER))?,
        };
        store.data_mut().set_handles(handles);
        let globals = (0..module.mutable_globals())
            .map(global_name)
            .map(|name| {
                instance
                    .get_global(&mut store, &name)
                    .ok_or_else(|| missing(&name))
            })
            .collect::<Result<_, _>>()?;
        let table = instance.get_table(&mut store, TABLE);
        Ok(Instance {
            module: module.clone(),
            store,
            instance,
            handles,
            globals,
            table,
            mirror: None,
        })
    }

    /// Runs one message and commits or undoes what it did to heap, globals and stable memory.
    pub fn execute(&mut self, stable: &mut StableMemory, message: &Message) -> Execution {
        let function = match self.function(message) {
            Ok(function) => function,
            Err(trap) => return self.store.data_mut().finish(Err(trap), 0, 0),
        };
        let globals: Vec<Val> = self
            .globals
            .iter()
            .map(|global| global.get(&mut self.store))
            .collect();
        let heap_pages = self.handles.heap.size(&self.store);
        let heap_bytes = self.handles.heap.data_size(&self.store);
        // Running out of a smaller limit is a trap at any instruction one likes, at no cost to other messages.
        let injected = match message.trap_at {
            Some(TrapAt::Instruction(number)) if number < message.instruction_limit => Some(number),
            _ => None,
        };
        let limit = injected.unwrap_or(message.instruction_limit);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.store.data_mut().start(message, heap_bytes);
        self.store.data_mut().message.instruction_limit = limit.unsigned_abs();
        std::mem::swap(&mut self.store.data_mut().stable, stable);

        let mut result = self.run(&function, limit);
        if let (Some(number), Err(Trap::OutOfInstructions)) = (injected, &result) {
            result = Err(Trap::Injected(TrapAt::Instruction(number)));
        }

        let instructions = limit
            .saturating_sub(self.instructions_left().max(0))
            .unsigned_abs();
        let dirty_pages = if discards_all(message) {
            0
        } else {
            self.changed_pages()
        };
        self.clear_marks();
        let succeeded = result.is_ok();
        if succeeded && !discards_all(message) {
            self.store.data_mut().stable.commit();
        } else {
            self.store.data_mut().stable.roll_back();
        }
        std::mem::swap(&mut self.store.data_mut().stable, stable);
        let restored = if succeeded && !discards_heap(message) {
            self.note_changes();
            self.keep()
        } else {
            self.restore(heap_pages, &globals)
        };
        if let Err(error) = restored {
            result = Err(Trap::of(&error));
        }
        self.store.data_mut().journal.clear();
        if let Some(line) = result.as_ref().err().and_then(Trap::log_line) {
            self.store.data_mut().append_log(line);
        }
        self.store
            .data_mut()
            .finish(result, instructions, dirty_pages)
    }

    /// The module this is an instance of.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Bytes of heap.
    pub fn heap_size(&self) -> u64 {
        self.handles.heap.data_size(&self.store) as u64
    }

    fn run(&mut self, function: &Function, limit: i64) -> Result<(), Trap> {
        let counter = self.handles.counter;
        counter
            .set(&mut self.store, Val::I64(limit))
            .and_then(|()| match function {
                Function::Export(function) => function.call(&mut self.store, ()),
                Function::Callback(function, environment) => {
                    function.call(&mut self.store, *environment)
                }
            })
            .map_err(|error| Trap::of(&error))
    }

    fn instructions_left(&mut self) -> i64 {
        self.handles.counter.get(&mut self.store).i64().unwrap_or(0)
    }

    fn function(&mut self, message: &Message) -> Result<Function, Trap> {
        let name = match &message.entry {
            Entry::Start => START.to_owned(),
            Entry::Init => "canister_init".to_owned(),
            Entry::PreUpgrade => "canister_pre_upgrade".to_owned(),
            Entry::PostUpgrade => "canister_post_upgrade".to_owned(),
            Entry::Update(name) => format!("canister_update {name}"),
            Entry::Query { name, .. } if message.composite => {
                format!("canister_composite_query {name}")
            }
            Entry::Query { name, .. } => format!("canister_query {name}"),
            Entry::InspectMessage => "canister_inspect_message".to_owned(),
            Entry::Heartbeat => "canister_heartbeat".to_owned(),
            Entry::GlobalTimer => "canister_global_timer".to_owned(),
            Entry::Reply(closure) | Entry::Reject(closure) | Entry::Cleanup(closure) => {
                return self.callback(*closure);
            }
        };
        match self.instance.get_typed_func(&mut self.store, &name) {
            Ok(function) => Ok(Function::Export(function)),
            Err(_) => {
                let method = name
                    .split_once(' ')
                    .map_or(name.as_str(), |(_, method)| method);
                Err(Trap::MethodNotFound(method.to_owned()))
            }
        }
    }

    fn callback(&mut self, closure: Closure) -> Result<Function, Trap> {
        let Some(table) = self.table else {
            return Err(Trap::Contract("table not found".to_owned()));
        };
        let function = match table.get(&mut self.store, u64::from(closure.function)) {
            Some(Ref::Func(Some(function))) => function,
            Some(_) => {
                let text = "unexpected null function reference";
                return Err(Trap::Contract(text.to_owned()));
            }
            None => {
                return Err(Trap::Contract(format!(
                    "requested to invoke a non-existent Wasm function {} from table 0",
                    closure.function
                )));
            }
        };
        match function.typed(&self.store) {
            Ok(function) => Ok(Function::Callback(function, closure.environment)),
            Err(_) => Err(Trap::Wasm("unknown".to_owned())),
        }
    }

    fn changed_pages(&self) -> u64 {
        self.store
            .data()
            .journal
            .changed(self.handles.heap.data(&self.store))
    }

    /// Makes all heap pages clean for the next message.
    fn clear_marks(&mut self) {
        let (marks, state) = self.handles.dirty.data_and_store_mut(&mut self.store);
        for page in state.journal.pages() {
            marks[*page] = 0;
        }
    }

    /// After a message that succeeded. Tables and dropped segments live for one message only, as on the IC.
    fn keep(&mut self) -> wasmtime::Result<()> {
        if self.module.changes_tables() {
            let pages = self.handles.heap.size(&self.store);
            let globals: Vec<Val> = self
                .globals
                .iter()
                .map(|global| global.get(&mut self.store))
                .collect();
            self.rebuild(pages, &globals)?;
        }
        Ok(())
    }

    /// After a message whose effects are to be undone.
    fn restore(&mut self, heap_pages: u64, globals: &[Val]) -> wasmtime::Result<()> {
        let (heap, state) = self.handles.heap.data_and_store_mut(&mut self.store);
        state.journal.restore(heap);
        if self.handles.heap.size(&self.store) != heap_pages || self.module.changes_tables() {
            return self.rebuild(heap_pages, globals);
        }
        self.set_globals(globals)
    }

    /// A second instance in the same state. What one does, the other doesn't see.
    pub fn fork(&mut self) -> Result<Instance, Trap> {
        let pages = self.handles.heap.size(&self.store);
        let globals: Vec<Val> = self
            .globals
            .iter()
            .map(|global| global.get(&mut self.store))
            .collect();
        self.copy(pages, &globals).map_err(|error| Trap::of(&error))
    }

    /// The next snapshot has to look at what the message wrote.
    fn note_changes(&mut self) {
        if let Some(mirror) = &mut self.mirror {
            mirror.changed.extend(self.store.data().journal.pages());
        }
    }

    /// Heap and globals as they are now. The first one copies the heap, each later one what was written since.
    pub(crate) fn save(&mut self) -> Result<HeapSnapshot, Trap> {
        let globals: Vec<Val> = self
            .globals
            .iter()
            .map(|global| global.get(&mut self.store))
            .collect();
        let mirror = self.mirror.get_or_insert_default();
        mirror.update(self.handles.heap.data(&self.store));
        HeapSnapshot::new(self.module.clone(), mirror.pages(), globals)
    }

    /// The next snapshot shares what is equal with what the module starts with.
    pub(crate) fn compare_with(&mut self, fresh: &HeapSnapshot) {
        self.mirror = Some(Mirror::began_as(fresh));
    }

    /// An instance in the state of a snapshot. Costs the pages in which `old` differs, if that is one of the same module, or
    /// else those in which `fresh` does, with which the module starts.
    pub(crate) fn load(
        snapshot: &HeapSnapshot,
        old: Option<Instance>,
        fresh: &HeapSnapshot,
    ) -> Result<Instance, Trap> {
        let bytes = snapshot.heap_bytes();
        let fits = |old: &Instance| {
            old.module.hash() == snapshot.module().hash()
                && old.handles.heap.data_size(&old.store) <= bytes
        };
        let mut instance = match old.filter(fits) {
            Some(old) => old,
            None => Instance {
                mirror: Some(Mirror::of_fresh(fresh)),
                ..Instance::new(snapshot.module())?
            },
        };
        let heap = instance.handles.heap;
        let missing = (bytes - heap.data_size(&instance.store)) as u64 / WASM_PAGE;
        heap.grow(&mut instance.store, missing)
            .map_err(|error| Trap::of(&error))?;
        let mirror = instance.mirror.get_or_insert_default();
        mirror.write(snapshot, heap.data_mut(&mut instance.store));
        instance
            .set_globals(snapshot.globals())
            .map_err(|error| Trap::of(&error))?;
        Ok(instance)
    }

    /// A new instance with so much of the heap, and these globals.
    fn copy(&self, heap_pages: u64, globals: &[Val]) -> wasmtime::Result<Instance> {
        let mut new = Instance::new(&self.module)?;
        let heap = new.handles.heap;
        let missing = heap_pages.saturating_sub(heap.size(&new.store));
        heap.grow(&mut new.store, missing)?;
        let (old, new_heap) = (
            self.handles.heap.data(&self.store),
            heap.data_mut(&mut new.store),
        );
        match &self.mirror {
            Some(mirror) => {
                for page in mirror.beyond_fresh(new_heap.len() / PAGE) {
                    let bytes = page * PAGE..(page + 1) * PAGE;
                    new_heap[bytes.clone()].copy_from_slice(&old[bytes]);
                }
            }
            None => new_heap.copy_from_slice(&old[..new_heap.len()]),
        }
        new.set_globals(globals)?;
        Ok(new)
    }

    /// Replaces the instance by a new one with the same heap and globals. A Wasm memory can't shrink, nor a dropped
    /// segment come back; both are rare enough for a copy of the heap.
    fn rebuild(&mut self, heap_pages: u64, globals: &[Val]) -> wasmtime::Result<()> {
        let mut new = self.copy(heap_pages, globals)?;
        new.mirror = self.mirror.take();
        std::mem::swap(self.store.data_mut(), new.store.data_mut());
        new.store.data_mut().set_handles(new.handles);
        *self = new;
        Ok(())
    }

    fn set_globals(&mut self, values: &[Val]) -> wasmtime::Result<()> {
        for (global, value) in self.globals.iter().zip(values) {
            global.set(&mut self.store, *value)?;
        }
        Ok(())
    }
}

/// Whether changes are dropped even if the message succeeds. The IC doesn't look for changed pages then.
fn discards_all(message: &Message) -> bool {
    match message.entry {
        Entry::Query { .. } => !message.composite,
        Entry::InspectMessage => true,
        _ => false,
    }
}

/// The heap after `canister_pre_upgrade` is of no use: the upgrade drops it, and if it fails, the canister goes on with
/// the heap from before.
fn discards_heap(message: &Message) -> bool {
    discards_all(message) || message.entry == Entry::PreUpgrade
}
