//! Candid arguments as bytes that do not depend on how a client encoded them, for hashing.
//!
//! They are read as they were sent, by candid's own types and never by the canister's Rust types. So the order in which a
//! `HashMap` yields its entries plays no part, a Rust type may be exchanged for another with the same candid type, and every
//! replica and every version of the canister sees the same.
//!
//! # What is equal
//! What candid's subtyping calls the same value is written alike, so that a compatible change of the interface, or a client
//! that is older or newer than the canister, changes nothing:
//!
//! - a record field or last argument that is left out, `null`, and `none`;
//! - `opt x` and `x`, unless `x` is itself `null` or `none`;
//! - a `nat` and the same `int`;
//! - a number with superfluous leading digits and one without; records, variants and type tables declared in another order.
//!
//! # What differs
//! Everything else: values of other types (`nat64` and `nat`), fields and cases with other names, elements in another order.
//! Candid has no maps: a client that encodes one as a `vec` in another order sends another value.
//!
//! ```text
//! absent       0: null, none and reserved
//! some         1, value: of what is itself absent or some
//! bool         2, byte
//! nat, int     3, the shortest signed LEB128
//! nat8…64      4…7, bytes
//! int8…64      8…11, bytes
//! float32, 64  12, 13, bytes
//! text         14, length, bytes
//! vec          15, length, elements
//! blob         16, length, bytes: a vec of nat8 that is not empty
//! record       17, 4 bytes for the number of fields that are present, then of each 4 bytes of id, and value
//! variant      18, 4 bytes of id, value
//! principal    19, length, bytes
//! service      20, length, bytes
//! func         21, length and bytes of the service, then of the method
//! ```

use super::{
    encoding::put_length,
    types::{Bytes, Composite, Table, TypeRef, primitive, with_table},
};

/// How deep values may lie in each other. Candid's own decoder gives up at 512 within a Rust type.
const MOST_DEPTH: u32 = 512;

/// Types without content nest at no cost in bytes, so what may be visited is bounded: this often, and a few times for each byte.
const FREE_VISITS: usize = 10_000;

/// Appends the argument's values to `written`; `None` if it is not candid, or nests too deep to be read.
pub(super) fn write(argument: &[u8], written: &mut Vec<u8>) -> Option<()> {
    if argument.is_empty() {
        return Some(());
    }
    let typed = argument.strip_prefix(b"DIDL")?;
    with_table(typed, |table, rest| write_values(table, rest, written))
}

/// Appends the values that `rest` holds, after their types.
fn write_values(table: &Table, mut rest: Bytes<'_>, written: &mut Vec<u8>) -> Option<()> {
    let visits = rest.0.len().saturating_mul(4) + FREE_VISITS;
    let count = rest.length()?;
    let mut types = Bytes(rest.0);
    for _ in 0..count {
        rest.type_ref()?;
    }
    let mut writer = Writer {
        table,
        visits,
        rest,
        written,
    };
    let mut end = writer.written.len();
    for _ in 0..count {
        let begin = writer.written.len();
        writer.value(types.type_ref()?, 0)?;
        if !writer.is_absent_from(begin) {
            end = writer.written.len();
        }
    }
    writer.written.truncate(end);
    writer.rest.0.is_empty().then_some(())
}

mod tag {
    pub(super) const ABSENT: u8 = 0;
    pub(super) const SOME: u8 = 1;
    pub(super) const BOOL: u8 = 2;
    pub(super) const NUMBER: u8 = 3;
    pub(super) const NAT8: u8 = 4;
    pub(super) const INT8: u8 = 8;
    pub(super) const FLOAT32: u8 = 12;
    pub(super) const FLOAT64: u8 = 13;
    pub(super) const TEXT: u8 = 14;
    pub(super) const VEC: u8 = 15;
    pub(super) const BLOB: u8 = 16;
    pub(super) const RECORD: u8 = 17;
    pub(super) const VARIANT: u8 = 18;
    pub(super) const PRINCIPAL: u8 = 19;
    pub(super) const SERVICE: u8 = 20;
    pub(super) const FUNC: u8 = 21;
}

struct Writer<'a> {
    table: &'a Table,
    /// How many more values may be looked at.
    visits: usize,
    rest: Bytes<'a>,
    written: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, of: TypeRef, depth: u32) -> Option<()> {
        self.visits = self.visits.checked_sub(1)?;
        if depth > MOST_DEPTH {
            return None;
        }
        match usize::try_from(of) {
            Ok(position) => {
                let composite = *self.table.types.get(position)?;
                self.composite(composite, depth + 1)
            }
            Err(_) => self.primitive(of),
        }
    }

    fn primitive(&mut self, of: TypeRef) -> Option<()> {
        match of {
            primitive::NULL | primitive::RESERVED => self.written.push(tag::ABSENT),
            primitive::BOOL => self.fixed(tag::BOOL, 1)?,
            primitive::NAT => self.integer(false)?,
            primitive::INT => self.integer(true)?,
            primitive::NAT64..=primitive::NAT8 => {
                let power = primitive::NAT8 - of;
                self.fixed(tag::NAT8 + power as u8, 1 << power)?;
            }
            primitive::INT64..=primitive::INT8 => {
                let power = primitive::INT8 - of;
                self.fixed(tag::INT8 + power as u8, 1 << power)?;
            }
            primitive::FLOAT32 => self.fixed(tag::FLOAT32, 4)?,
            primitive::FLOAT64 => self.fixed(tag::FLOAT64, 8)?,
            primitive::TEXT => {
                let text = self.rest.sized()?;
                self.sized(tag::TEXT, text);
            }
            primitive::PRINCIPAL => {
                let principal = self.rest.principal()?;
                self.sized(tag::PRINCIPAL, principal);
            }
            _ => return None,
        }
        Some(())
    }

    fn composite(&mut self, of: Composite, depth: u32) -> Option<()> {
        match of {
            Composite::Opt(of) => match self.rest.byte()? {
                0 => self.written.push(tag::ABSENT),
                1 => {
                    let begin = self.written.len();
                    self.value(of, depth)?;
                    if matches!(self.written.get(begin)?, &(tag::ABSENT | tag::SOME)) {
                        self.written.insert(begin, tag::SOME);
                    }
                }
                _ => return None,
            },
            Composite::Vec(of) => self.vec(of, depth)?,
            Composite::Record(first, count) => self.record(first, count, depth)?,
            Composite::Variant(first, count) => {
                let index = self.rest.length()?;
                if index >= count {
                    return None;
                }
                let (id, of) = *self.table.fields.get(first + index)?;
                self.written.push(tag::VARIANT);
                self.written.extend_from_slice(&id.to_le_bytes());
                self.value(of, depth)?;
            }
            Composite::Service => {
                let service = self.rest.principal()?;
                self.sized(tag::SERVICE, service);
            }
            Composite::Func => {
                if self.rest.byte()? != 1 {
                    return None;
                }
                let service = self.rest.principal()?;
                self.sized(tag::FUNC, service);
                let method = self.rest.sized()?;
                put_length(self.written, method.len());
                self.written.extend_from_slice(method);
            }
            Composite::Future => return None,
        }
        Some(())
    }

    fn record(&mut self, first: usize, count: usize, depth: u32) -> Option<()> {
        self.written.push(tag::RECORD);
        let place = self.written.len();
        self.written.extend_from_slice(&[0; 4]);
        let mut present = 0u32;
        for position in first..first + count {
            let (id, of) = *self.table.fields.get(position)?;
            let begin = self.written.len();
            self.written.extend_from_slice(&id.to_le_bytes());
            self.value(of, depth)?;
            if self.is_absent_from(begin + 4) {
                self.written.truncate(begin);
            } else {
                present += 1;
            }
        }
        self.written[place..place + 4].copy_from_slice(&present.to_le_bytes());
        Some(())
    }

    /// Whether nothing but an absent value was written from there on.
    fn is_absent_from(&self, begin: usize) -> bool {
        self.written.len() == begin + 1 && self.written[begin] == tag::ABSENT
    }

    fn vec(&mut self, of: TypeRef, depth: u32) -> Option<()> {
        let count = self.rest.length()?;
        if of == primitive::NAT8 && count > 0 {
            let blob = self.rest.take(count)?;
            self.sized(tag::BLOB, blob);
            return Some(());
        }
        self.written.push(tag::VEC);
        put_length(self.written, count);
        (0..count).try_for_each(|_| self.value(of, depth))
    }

    fn fixed(&mut self, tag: u8, length: usize) -> Option<()> {
        let bytes = self.rest.take(length)?;
        self.written.push(tag);
        self.written.extend_from_slice(bytes);
        Some(())
    }

    fn sized(&mut self, tag: u8, bytes: &[u8]) {
        self.written.push(tag);
        put_length(self.written, bytes.len());
        self.written.extend_from_slice(bytes);
    }

    /// A `nat` or `int` in LEB128, as the shortest signed LEB128 of the same number.
    fn integer(&mut self, is_signed: bool) -> Option<()> {
        const MORE: u8 = 0x80;
        const SIGN: u8 = 0x40;
        let length = self.rest.0.iter().position(|byte| byte & MORE == 0)? + 1;
        let mut digits = self.rest.take(length)?;
        while let [.., before, last] = digits {
            let is_superfluous = match (is_signed, last & !MORE) {
                (false, 0) => true,
                (true, 0) => before & SIGN == 0,
                (true, 0x7F) => before & SIGN != 0,
                _ => false,
            };
            if !is_superfluous {
                break;
            }
            digits = &digits[..digits.len() - 1];
        }
        self.written.push(tag::NUMBER);
        let (last, more) = digits.split_last()?;
        self.written.extend(more.iter().map(|digit| digit | MORE));
        let last = last & !MORE;
        if !is_signed && last & SIGN != 0 {
            self.written.extend_from_slice(&[last | MORE, 0]);
        } else {
            self.written.push(last);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
