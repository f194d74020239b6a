//! Locals that the rewriting adds to a function.

use wasm_encoder::ValType;

/// Locals handed out so far, each after the function's own.
pub(super) struct Scratch {
    first: u32,
    kinds: Vec<(ValType, u8)>,
}

impl Scratch {
    pub(super) fn after(locals: u32) -> Self {
        Self {
            first: locals,
            kinds: Vec::new(),
        }
    }

    /// The nth scratch local of a type.
    pub(super) fn local(&mut self, kind: ValType, n: u8) -> u32 {
        let known = self.kinds.iter().position(|entry| *entry == (kind, n));
        let at = known.unwrap_or_else(|| {
            self.kinds.push((kind, n));
            self.kinds.len() - 1
        });
        self.first + at as u32
    }

    /// The declarations to add to the function.
    pub(super) fn locals(&self) -> impl Iterator<Item = (u32, ValType)> {
        self.kinds.iter().map(|(kind, _)| (1, *kind))
    }
}
