//! What each Wasm operator costs.

use wasmparser::Operator;

/// Instructions charged for an operator, without the size of what a bulk operator touches.
pub(super) fn cost(operator: &Operator<'_>) -> u64 {
    use Operator::*;
    match operator {
        Block { .. } | Else | End | Loop { .. } => 0,
        F32Add
        | F32Sub
        | F32Mul
        | F32Ceil
        | F32Floor
        | F32Trunc
        | F32Nearest
        | F64Add
        | F64Sub
        | F64Mul
        | F64Ceil
        | F64Floor
        | F64Trunc
        | F64Nearest
        | F32Copysign
        | GlobalGet { .. }
        | GlobalSet { .. }
        | If { .. }
        | Br { .. }
        | BrIf { .. }
        | BrTable { .. }
        | I8x16LtU
        | I8x16GtU
        | I16x8LtU
        | I16x8GtU
        | I32x4LtU
        | I32x4GtU
        | I8x16ShrU
        | I16x8ExtAddPairwiseI8x16U
        | I16x8Shl
        | I16x8ShrS
        | I16x8ShrU
        | I16x8ExtMulHighI8x16S
        | I16x8ExtMulHighI8x16U
        | I32x4Shl
        | I32x4ShrS
        | I32x4ShrU
        | I32x4Mul
        | I32x4ExtMulLowI16x8S
        | I32x4ExtMulHighI16x8S
        | I32x4ExtMulLowI16x8U
        | I32x4ExtMulHighI16x8U
        | I64x2Shl
        | I64x2ShrU
        | F32x4Ceil
        | F32x4Floor
        | F32x4Trunc
        | F32x4Nearest
        | F32x4Abs
        | F32x4Neg
        | F32x4Add
        | F32x4Sub
        | F32x4Mul
        | F64x2Ceil
        | F64x2Floor
        | F64x2Trunc
        | F64x2Nearest
        | F64x2Abs
        | F64x2Neg
        | F64x2Add
        | F64x2Sub
        | F64x2Mul
        | I32x4TruncSatF32x4S
        | I32x4TruncSatF64x2SZero => 2,
        F32Div
        | F64Copysign
        | F32Eq
        | F32Ne
        | F32Lt
        | F32Gt
        | F32Le
        | F32Ge
        | F64Eq
        | F64Ne
        | F64Lt
        | F64Gt
        | F64Le
        | F64Ge
        | F32ConvertI32S
        | F64ConvertI64S
        | F32ConvertI64S
        | F64ConvertI32S
        | ReturnCall { .. }
        | I8x16Shuffle { .. }
        | I8x16Popcnt
        | I8x16Shl
        | I8x16ShrS
        | I32x4ExtAddPairwiseI16x8U
        | I64x2ShrS
        | I32x4TruncSatF64x2UZero => 3,
        I64x2Mul | F32x4Min | F32x4Max | F64x2Min | I32x4TruncSatF32x4U | F32x4ConvertI32x4U => 4,
        F64Div
        | F32Sqrt
        | TableGet { .. }
        | TableSet { .. }
        | Call { .. }
        | RefIsNull
        | F32x4Sqrt
        | F64x2Max => 5,
        F64Sqrt => 8,
        I32DivS
        | I32DivU
        | I32RemS
        | I32RemU
        | I64DivS
        | I64DivU
        | I64RemS
        | I64RemU
        | CallIndirect { .. }
        | F32x4Div => 10,
        F64x2Div => 12,
        F64x2Sqrt => 14,
        F64ConvertI32U | F32ConvertI64U | F32ConvertI32U | F64ConvertI64U => 16,
        F32Min | F32Max | F64Min | F64Max => 18,
        I64TruncSatF32S
        | I64TruncSatF32U
        | I64TruncSatF64S
        | I64TruncSatF64U
        | I32TruncSatF32S
        | I32TruncSatF32U
        | I32TruncSatF64S
        | I32TruncSatF64U
        | I32TruncF32S
        | I32TruncF32U
        | I32TruncF64S
        | I32TruncF64U
        | I64TruncF32S
        | I64TruncF32U
        | I64TruncF64S
        | I64TruncF64U
        | MemorySize { .. } => 20,
        ReturnCallIndirect { .. } => 60,
        TableSize { .. }
        | MemoryFill { .. }
        | MemoryCopy { .. }
        | TableFill { .. }
        | TableCopy { .. }
        | MemoryInit { .. }
        | TableInit { .. } => 100,
        RefFunc { .. } => 130,
        TableGrow { .. } | MemoryGrow { .. } | DataDrop { .. } | ElemDrop { .. } => 300,
        // Constants, locals, integer arithmetic, loads, stores and most vector operators.
        _ => 1,
    }
}
