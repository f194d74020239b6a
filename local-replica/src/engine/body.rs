//! Rewrites function bodies.

use super::{compilation, layout::Layout, scratch::Scratch, weights::cost};
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{BlockType, Function, Instruction, MemArg, ValType};
use wasmparser::Operator;

/// A function's new code.
pub(super) struct Rewritten<'a> {
    pub(super) instructions: Vec<Instruction<'a>>,
    /// See [`super::instrument::Instrumented::compiled_instructions`].
    pub(super) compiled_instructions: u64,
    /// See [`super::instrument::Instrumented::changes_tables`].
    pub(super) changes_tables: bool,
}

/// A charge at the start of a block.
struct Charge {
    /// Index of the operator it comes before.
    at: usize,
    cost: u64,
    /// The block can be entered over and over, so the counter must be tested here.
    reentrant: bool,
}

/// The static charges of a function, in order.
fn charges(operators: &[Operator<'_>]) -> Vec<Charge> {
    use Operator::*;
    let mut charges = Vec::new();
    // Even an empty function costs 1.
    let mut block = Charge {
        at: 0,
        cost: 1,
        reentrant: true,
    };
    for (index, operator) in operators.iter().enumerate() {
        block.cost += cost(operator);
        let ends_block = matches!(
            operator,
            Loop { .. }
                | If { .. }
                | Else
                | End
                | Br { .. }
                | BrIf { .. }
                | BrTable { .. }
                | Return
                | Unreachable
                | ReturnCall { .. }
                | ReturnCallIndirect { .. }
        );
        if ends_block {
            let next = Charge {
                at: index + 1,
                cost: 0,
                reentrant: matches!(operator, Loop { .. }),
            };
            charges.push(std::mem::replace(&mut block, next));
        }
    }
    charges.retain(|charge| charge.cost > 0 || charge.reentrant);
    charges
}

/// Rewrites one function's operators; `indices` maps those of the old module to those of the new one.
pub(super) fn rewrite<'a, R: Reencode>(
    indices: &mut R,
    layout: &Layout,
    operators: &[Operator<'a>],
    scratch: &mut Scratch,
) -> Result<Rewritten<'a>, Error<R::Error>> {
    let charges = charges(operators);
    let tests = charges.iter().filter(|charge| charge.reentrant).count() as u64;
    let added = compilation::CHARGE * charges.len() as u64 + compilation::TEST * tests;
    let mut new = Rewritten {
        instructions: Vec::with_capacity(operators.len() * 2),
        compiled_instructions: operators.len() as u64 + added,
        changes_tables: false,
    };
    let mut charges = charges.iter().peekable();
    for (index, operator) in operators.iter().enumerate() {
        if let Some(charge) = charges.next_if(|charge| charge.at == index) {
            add_charge(&mut new.instructions, layout, charge);
        }
        add_barrier(&mut new, layout, operator, scratch);
        new.instructions
            .push(indices.instruction(operator.clone())?);
    }
    Ok(new)
}

fn add_charge(code: &mut Vec<Instruction<'_>>, layout: &Layout, charge: &Charge) {
    let counter = layout.counter();
    code.push(Instruction::GlobalGet(counter));
    code.push(Instruction::I64Const(charge.cost as i64));
    code.push(Instruction::I64Sub);
    code.push(Instruction::GlobalSet(counter));
    if charge.reentrant {
        code.extend(test_counter(layout));
    }
}

fn test_counter(layout: &Layout) -> [Instruction<'static>; 6] {
    [
        Instruction::GlobalGet(layout.counter()),
        Instruction::I64Const(0),
        Instruction::I64LtS,
        Instruction::If(BlockType::Empty),
        Instruction::Call(layout.out_of_instructions()),
        Instruction::End,
    ]
}

/// What must happen right before an operator that writes to the heap or works on many elements.
fn add_barrier(
    new: &mut Rewritten<'_>,
    layout: &Layout,
    operator: &Operator<'_>,
    scratch: &mut Scratch,
) {
    use Operator::*;
    match operator {
        MemoryCopy { .. } | MemoryFill { .. } | MemoryInit { .. } => {
            let [to, from, count] = [0, 1, 2].map(|n| scratch.local(ValType::I32, n));
            new.instructions.extend([
                Instruction::LocalSet(count),
                Instruction::LocalSet(from),
                Instruction::LocalTee(to),
                Instruction::LocalGet(count),
                Instruction::Call(layout.mark_range()),
                Instruction::LocalGet(to),
                Instruction::LocalGet(from),
                Instruction::LocalGet(count),
            ]);
            new.compiled_instructions += compilation::CHARGE_OPERAND;
        }
        TableCopy { .. } | TableFill { .. } | TableInit { .. } => {
            new.instructions
                .push(Instruction::Call(layout.charge_operand()));
            new.compiled_instructions += compilation::CHARGE_OPERAND;
            new.changes_tables = true;
        }
        TableSet { .. } | TableGrow { .. } | DataDrop { .. } | ElemDrop { .. } => {
            new.changes_tables = true
        }
        MemoryGrow { .. } => new.compiled_instructions += compilation::MEMORY_GROW,
        _ => {
            if let Some((bytes, kind, offset)) = store(operator) {
                let address = scratch.local(ValType::I32, 0);
                let value = scratch.local(kind, 1);
                let first = if offset == 0 {
                    address
                } else {
                    scratch.local(ValType::I32, 2)
                };
                new.instructions
                    .extend([Instruction::LocalSet(value), Instruction::LocalTee(address)]);
                if first != address {
                    new.instructions.extend([
                        Instruction::LocalGet(address),
                        Instruction::I32Const(offset as i32),
                        Instruction::I32Add,
                        Instruction::LocalSet(first),
                    ]);
                }
                new.instructions.extend(is_dirty(layout, first, 0));
                if bytes > 1 {
                    new.instructions.extend(is_dirty(layout, first, bytes - 1));
                    new.instructions.push(Instruction::I32And);
                }
                new.instructions.extend([
                    Instruction::I32Eqz,
                    Instruction::If(BlockType::Empty),
                    Instruction::LocalGet(first),
                    Instruction::I32Const(bytes),
                    Instruction::Call(layout.mark()),
                    Instruction::End,
                    Instruction::LocalGet(value),
                ]);
            }
        }
    }
}

/// The dirty byte of the page of an address; both wrap at 4 GiB, where the store traps anyway.
fn is_dirty(layout: &Layout, address: u32, distance: i32) -> Vec<Instruction<'static>> {
    let mut code = vec![Instruction::LocalGet(address)];
    if distance != 0 {
        code.extend([Instruction::I32Const(distance), Instruction::I32Add]);
    }
    let byte = MemArg {
        offset: 0,
        align: 0,
        memory_index: layout.dirty_map(),
    };
    code.extend([
        Instruction::I32Const(12),
        Instruction::I32ShrU,
        Instruction::I32Load8U(byte),
    ]);
    code
}

/// Bytes, operand type and offset of a store.
fn store(operator: &Operator<'_>) -> Option<(i32, ValType, u64)> {
    use Operator::*;
    let (bytes, kind, memarg) = match operator {
        I32Store8 { memarg } => (1, ValType::I32, memarg),
        I32Store16 { memarg } => (2, ValType::I32, memarg),
        I32Store { memarg } => (4, ValType::I32, memarg),
        I64Store8 { memarg } => (1, ValType::I64, memarg),
        I64Store16 { memarg } => (2, ValType::I64, memarg),
        I64Store32 { memarg } => (4, ValType::I64, memarg),
        I64Store { memarg } => (8, ValType::I64, memarg),
        F32Store { memarg } => (4, ValType::F32, memarg),
        F64Store { memarg } => (8, ValType::F64, memarg),
        V128Store { memarg } => (16, ValType::V128, memarg),
        V128Store8Lane { memarg, .. } => (1, ValType::V128, memarg),
        V128Store16Lane { memarg, .. } => (2, ValType::V128, memarg),
        V128Store32Lane { memarg, .. } => (4, ValType::V128, memarg),
        V128Store64Lane { memarg, .. } => (8, ValType::V128, memarg),
        _ => return None,
    };
    Some((bytes, kind, memarg.offset))
}

/// `(size) -> size`: charges an operand that is a number of elements.
pub(super) fn charge_operand(layout: &Layout) -> Function {
    let mut function = Function::new([]);
    charge_local(&mut function, layout, 0);
    function
        .instruction(&Instruction::LocalGet(0))
        .instruction(&Instruction::End);
    function
}

/// `(address, length)`: charges the length and marks the range, with a call to the host only if it isn't all dirty.
pub(super) fn mark_range(layout: &Layout) -> Function {
    let (address, length, page, last) = (0, 1, 2, 3);
    let mut function = Function::new([(2, ValType::I32)]);
    charge_local(&mut function, layout, length);
    let byte = MemArg {
        offset: 0,
        align: 0,
        memory_index: layout.dirty_map(),
    };
    let code = [
        Instruction::LocalGet(length),
        Instruction::I32Eqz,
        Instruction::If(BlockType::Empty),
        Instruction::Return,
        Instruction::End,
        Instruction::LocalGet(address),
        Instruction::I32Const(12),
        Instruction::I32ShrU,
        Instruction::LocalSet(page),
        // A range that wraps is out of bounds: `last` is then below `page`, and the operator itself will trap.
        Instruction::LocalGet(address),
        Instruction::LocalGet(length),
        Instruction::I32Add,
        Instruction::I32Const(1),
        Instruction::I32Sub,
        Instruction::I32Const(12),
        Instruction::I32ShrU,
        Instruction::LocalSet(last),
        Instruction::Loop(BlockType::Empty),
        Instruction::LocalGet(page),
        Instruction::LocalGet(last),
        Instruction::I32LeU,
        Instruction::If(BlockType::Empty),
        Instruction::LocalGet(page),
        Instruction::I32Load8U(byte),
        Instruction::I32Eqz,
        Instruction::If(BlockType::Empty),
        Instruction::LocalGet(address),
        Instruction::LocalGet(length),
        Instruction::Call(layout.mark()),
        Instruction::Return,
        Instruction::End,
        Instruction::LocalGet(page),
        Instruction::I32Const(1),
        Instruction::I32Add,
        Instruction::LocalSet(page),
        Instruction::Br(1),
        Instruction::End,
        Instruction::End,
        Instruction::End,
    ];
    for instruction in &code {
        function.instruction(instruction);
    }
    function
}

/// Takes an unsigned local off the counter and tests it. The counter is far from where this could overflow: it is
/// never more than 2^32 below zero, because each charge of an operand is followed by this test.
fn charge_local(function: &mut Function, layout: &Layout, local: u32) {
    function
        .instruction(&Instruction::GlobalGet(layout.counter()))
        .instruction(&Instruction::LocalGet(local))
        .instruction(&Instruction::I64ExtendI32U)
        .instruction(&Instruction::I64Sub)
        .instruction(&Instruction::GlobalSet(layout.counter()));
    for instruction in &test_counter(layout) {
        function.instruction(instruction);
    }
}
