//! Rewrites a module: counts instructions, marks written heap pages, exports what the host must reach.
//!
//! Counting follows the IC to the instruction: a block's cost is charged when it is entered, the operand of a bulk
//! operator right before it. Before a store to a 4 KiB page that is clean in this message, the host is called to keep
//! the page's content; which pages are dirty stands in a byte map that is a second Wasm memory, so that the check is
//! a load and a branch. None of what is added here is itself counted.

use super::{body, layout::Layout, scratch::Scratch};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, EntityType, ExportKind,
    ExportSection, FunctionSection, GlobalSection, GlobalType, ImportSection, MemorySection,
    MemoryType, TableSection, TypeSection, ValType,
};
use wasmparser::{BinaryReader, CodeSectionReader, FunctionBody, Parser, Payload};

/// Import module of the functions the rewriting calls.
pub(super) const HOST: &str = "host";
/// Import: keep the pages of the range (address, length) and mark them dirty.
pub(super) const MARK: &str = "mark";
/// Import: the counter is below zero.
pub(super) const OUT_OF_INSTRUCTIONS: &str = "out_of_instructions";

/// Export: the canister's memory.
pub(super) const HEAP: &str = "heap";
/// Export: one byte for each 4 KiB heap page, not 0 if the page was written in this message.
pub(super) const DIRTY: &str = "dirty";
/// Export: instructions left.
pub(super) const COUNTER: &str = "counter";
/// Export: the function table.
pub(super) const TABLE: &str = "table";
/// The start function runs as a message of its own, under this name.
pub(super) const START: &str = "canister_start";

/// The name under which the module's nth mutable global is exported.
pub(super) fn global_name(n: usize) -> String {
    format!("global {n}")
}

/// A rewritten module.
pub(super) struct Instrumented {
    /// The new module.
    pub(super) wasm: Vec<u8>,
    /// Mutable globals of the canister, exported as [`global_name`].
    pub(super) mutable_globals: usize,
    /// Wasm instructions that the IC would compile, its own instrumentation included.
    pub(super) compiled_instructions: u64,
    /// The code changes tables, or drops data or element segments.
    pub(super) changes_tables: bool,
}

/// Why rewriting failed; the module has been validated, so this is a limit of the rewriting.
pub(super) type Error = reencode::Error<std::convert::Infallible>;

/// Rewrites a valid module.
pub(super) fn instrument(wasm: &[u8]) -> Result<Instrumented, Error> {
    let layout = Layout::read(wasm)?;
    let compiled_instructions = layout.fixed_compilation();
    let mut rewriter = Rewriter {
        layout,
        compiled_instructions,
        changes_tables: false,
        next_body: 0,
    };
    let mut sections = Sections::default();
    for payload in Parser::new(0).parse_all(wasm) {
        sections.add(&mut rewriter, payload?, wasm)?;
    }
    let mutable_globals = sections.finish(&rewriter.layout);
    Ok(Instrumented {
        wasm: sections.encode(),
        mutable_globals,
        compiled_instructions: rewriter.compiled_instructions,
        changes_tables: rewriter.changes_tables,
    })
}

/// The new module's sections, filled from the old ones and then added to.
#[derive(Default)]
struct Sections {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    data_count: Option<u32>,
    code: CodeSection,
    data: DataSection,
}

impl Sections {
    fn add(
        &mut self,
        rewriter: &mut Rewriter,
        payload: Payload<'_>,
        wasm: &[u8],
    ) -> Result<(), Error> {
        match payload {
            Payload::TypeSection(section) => rewriter.parse_type_section(&mut self.types, section),
            Payload::ImportSection(section) => {
                rewriter.parse_import_section(&mut self.imports, section)
            }
            Payload::FunctionSection(section) => {
                rewriter.parse_function_section(&mut self.functions, section)
            }
            Payload::TableSection(section) => {
                rewriter.parse_table_section(&mut self.tables, section)
            }
            Payload::MemorySection(section) => {
                rewriter.parse_memory_section(&mut self.memories, section)
            }
            Payload::GlobalSection(section) => {
                rewriter.parse_global_section(&mut self.globals, section)
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == wasmparser::ExternalKind::Func {
                        // The code may take references to exported functions only, so all of them stay, but out of
                        // the way of our own names.
                        let prefix = if export.name.starts_with("canister_") {
                            ""
                        } else {
                            "other "
                        };
                        self.exports.export(
                            &format!("{prefix}{}", export.name),
                            ExportKind::Func,
                            rewriter.layout.function(export.index),
                        );
                    }
                }
                Ok(())
            }
            Payload::ElementSection(section) => {
                rewriter.parse_element_section(&mut self.elements, section)
            }
            Payload::DataCountSection { count, .. } => {
                self.data_count = Some(count);
                Ok(())
            }
            Payload::CodeSectionStart { range, .. } => {
                let bytes = wasm
                    .get(range.clone())
                    .ok_or(Error::InvalidCodeSectionSize)?;
                let section = CodeSectionReader::new(BinaryReader::new(bytes, range.start))?;
                rewriter.parse_code_section(&mut self.code, section)
            }
            Payload::DataSection(section) => rewriter.parse_data_section(&mut self.data, section),
            // Debug information and names mean nothing after the rewriting; the start function becomes an export.
            _ => Ok(()),
        }
    }

    /// Adds the host's imports, the helper functions, counter, dirty map and exports; answers the mutable globals.
    fn finish(&mut self, layout: &Layout) -> usize {
        let types = self.types.len();
        self.types.ty().function([ValType::I32, ValType::I32], []);
        self.types.ty().function([], []);
        self.types.ty().function([ValType::I32], [ValType::I32]);
        self.imports.import(HOST, MARK, EntityType::Function(types));
        self.imports
            .import(HOST, OUT_OF_INSTRUCTIONS, EntityType::Function(types + 1));
        self.functions.function(types + 2);
        self.code.function(&body::charge_operand(layout));
        self.functions.function(types);
        self.code.function(&body::mark_range(layout));

        if layout.memories == 0 {
            self.memories.memory(memory(0, None));
        }
        self.memories.memory(memory(
            layout.dirty_map_pages(),
            Some(layout.dirty_map_pages()),
        ));
        let counter = GlobalType {
            val_type: ValType::I64,
            mutable: true,
            shared: false,
        };
        self.globals.global(counter, &ConstExpr::i64_const(0));

        self.exports.export(HEAP, ExportKind::Memory, 0);
        self.exports
            .export(DIRTY, ExportKind::Memory, layout.dirty_map());
        self.exports
            .export(COUNTER, ExportKind::Global, layout.counter());
        if layout.tables > 0 {
            self.exports.export(TABLE, ExportKind::Table, 0);
        }
        if let Some(start) = layout.start {
            self.exports
                .export(START, ExportKind::Func, layout.function(start));
        }
        for (n, global) in layout.mutable_globals.iter().enumerate() {
            self.exports
                .export(&global_name(n), ExportKind::Global, *global);
        }
        layout.mutable_globals.len()
    }

    fn encode(&self) -> Vec<u8> {
        let mut module = wasm_encoder::Module::new();
        module
            .section(&self.types)
            .section(&self.imports)
            .section(&self.functions)
            .section(&self.tables)
            .section(&self.memories)
            .section(&self.globals)
            .section(&self.exports)
            .section(&self.elements);
        if let Some(count) = self.data_count {
            module.section(&DataCountSection { count });
        }
        module.section(&self.code).section(&self.data);
        module.finish()
    }
}

fn memory(minimum: u64, maximum: Option<u64>) -> MemoryType {
    MemoryType {
        minimum,
        maximum,
        memory64: false,
        shared: false,
        page_size_log2: None,
    }
}

struct Rewriter {
    layout: Layout,
    compiled_instructions: u64,
    changes_tables: bool,
    /// Which function body comes next.
    next_body: usize,
}

impl Reencode for Rewriter {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        Ok(self.layout.function(function))
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        function: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let mut locals = Vec::new();
        let mut count = self.layout.parameters(self.next_body);
        self.next_body += 1;
        for run in function.get_locals_reader()? {
            let (n, kind) = run?;
            count += n;
            locals.push((n, self.val_type(kind)?));
        }
        let operators: Vec<_> = function
            .get_operators_reader()?
            .into_iter()
            .collect::<Result<_, _>>()?;
        let mut scratch = Scratch::after(count);
        let rewritten = body::rewrite(
            &mut Indices(&self.layout),
            &self.layout,
            &operators,
            &mut scratch,
        )?;
        self.compiled_instructions += rewritten.compiled_instructions;
        self.changes_tables |= rewritten.changes_tables;
        locals.extend(scratch.locals());
        let mut new = wasm_encoder::Function::new(locals);
        for instruction in &rewritten.instructions {
            new.instruction(instruction);
        }
        code.function(&new);
        Ok(())
    }
}

/// Maps the indices inside of function bodies.
struct Indices<'a>(&'a Layout);

impl Reencode for Indices<'_> {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        Ok(self.0.function(function))
    }
}
