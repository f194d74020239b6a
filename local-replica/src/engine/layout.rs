//! What the rewriting must know of a module before it starts.

use super::compilation;
use wasmparser::{CompositeInnerType, Parser, Payload, TypeRef};

/// Functions imported from the host by the rewriting.
const HOST_IMPORTS: u32 = 2;

/// Counts and indices of a module.
#[derive(Default)]
pub(super) struct Layout {
    /// Parameter count of each type.
    types: Vec<u32>,
    imported_functions: u32,
    /// Instructions of the functions with which the IC replaces imports.
    replacements: u64,
    /// Type of each function with a body.
    bodies: Vec<u32>,
    pub(super) tables: u32,
    pub(super) memories: u32,
    globals: u32,
    pub(super) mutable_globals: Vec<u32>,
    pub(super) start: Option<u32>,
}

impl Layout {
    pub(super) fn read(wasm: &[u8]) -> Result<Self, wasmparser::Error> {
        let mut layout = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        for sub_type in group?.into_types() {
                            layout.types.push(match sub_type.composite_type.inner {
                                CompositeInnerType::Func(function) => {
                                    function.params().len() as u32
                                }
                                _ => 0,
                            });
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if matches!(import.ty, TypeRef::Func(_)) {
                            layout.imported_functions += 1;
                            layout.replacements += compilation::replacement(import.name);
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    layout.bodies = section.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::TableSection(section) => layout.tables = section.count(),
                Payload::MemorySection(section) => layout.memories = section.count(),
                Payload::GlobalSection(section) => {
                    layout.globals = section.count();
                    for (index, global) in section.into_iter().enumerate() {
                        if global?.ty.mutable {
                            layout.mutable_globals.push(index as u32);
                        }
                    }
                }
                Payload::StartSection { func, .. } => layout.start = Some(func),
                _ => {}
            }
        }
        Ok(layout)
    }

    /// Parameters of the nth function with a body.
    pub(super) fn parameters(&self, body: usize) -> u32 {
        self.bodies
            .get(body)
            .and_then(|kind| self.types.get(*kind as usize))
            .copied()
            .unwrap_or(0)
    }

    /// New index of one of the module's functions: the host's imports come after its own.
    pub(super) fn function(&self, old: u32) -> u32 {
        if old < self.imported_functions {
            old
        } else {
            old + HOST_IMPORTS
        }
    }

    pub(super) fn mark(&self) -> u32 {
        self.imported_functions
    }

    pub(super) fn out_of_instructions(&self) -> u32 {
        self.imported_functions + 1
    }

    /// Helper function: charges the operand on the stack and leaves it there.
    pub(super) fn charge_operand(&self) -> u32 {
        self.imported_functions + HOST_IMPORTS + self.bodies.len() as u32
    }

    /// Helper function: charges the length of a heap range that is going to be written, and marks its pages.
    pub(super) fn mark_range(&self) -> u32 {
        self.charge_operand() + 1
    }

    pub(super) fn dirty_map(&self) -> u32 {
        self.memories.max(1)
    }

    /// Wasm pages of the dirty map: a byte for each 4 KiB page of a 4 GiB heap.
    pub(super) fn dirty_map_pages(&self) -> u64 {
        (1 << 32) / 4_096 / 65_536
    }

    /// What the IC compiles besides the module's own functions.
    pub(super) fn fixed_compilation(&self) -> u64 {
        compilation::fixed(self.globals) + self.replacements
    }

    pub(super) fn counter(&self) -> u32 {
        self.globals
    }
}
