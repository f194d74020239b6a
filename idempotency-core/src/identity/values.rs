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

use super::encoding::put_length;

/// How deep values may lie in each other. Candid's own decoder gives up at 512 within a Rust type.
const MOST_DEPTH: u32 = 512;

/// Types without content nest at no cost in bytes, so what may be visited is bounded: this often, and a few times for each byte.
const FREE_VISITS: usize = 10_000;

/// Appends the argument's values to `written`; `None` if it is not candid, or nests too deep to be read.
pub(super) fn write(argument: &[u8], written: &mut Vec<u8>) -> Option<()> {
    if argument.is_empty() {
        return Some(());
    }
    let mut rest = Bytes(argument.strip_prefix(b"DIDL")?);
    let table = Table::read(&mut rest)?;
    let count = rest.length()?;
    let mut types = Bytes(rest.0);
    for _ in 0..count {
        rest.type_ref()?;
    }
    let mut writer = Writer {
        table,
        visits: argument.len().saturating_mul(4) + FREE_VISITS,
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

/// Candid's number of a type: one of the table, or below zero a primitive one.
type TypeRef = i32;

mod primitive {
    use super::TypeRef;
    pub(super) const NULL: TypeRef = -1;
    pub(super) const BOOL: TypeRef = -2;
    pub(super) const NAT: TypeRef = -3;
    pub(super) const INT: TypeRef = -4;
    pub(super) const NAT8: TypeRef = -5;
    pub(super) const NAT64: TypeRef = -8;
    pub(super) const INT8: TypeRef = -9;
    pub(super) const INT64: TypeRef = -12;
    pub(super) const FLOAT32: TypeRef = -13;
    pub(super) const FLOAT64: TypeRef = -14;
    pub(super) const TEXT: TypeRef = -15;
    pub(super) const RESERVED: TypeRef = -16;
    pub(super) const OPT: TypeRef = -18;
    pub(super) const VEC: TypeRef = -19;
    pub(super) const RECORD: TypeRef = -20;
    pub(super) const VARIANT: TypeRef = -21;
    pub(super) const FUNC: TypeRef = -22;
    pub(super) const SERVICE: TypeRef = -23;
    pub(super) const PRINCIPAL: TypeRef = -24;
}

/// The types that an argument brings.
struct Table {
    types: Vec<Composite>,
    /// Id and type of the fields of all records and the cases of all variants.
    fields: Vec<(u32, TypeRef)>,
}

#[derive(Clone, Copy)]
enum Composite {
    Opt(TypeRef),
    Vec(TypeRef),
    /// Its fields: the first one's position, and how many.
    Record(usize, usize),
    /// Its cases, as the fields of a record.
    Variant(usize, usize),
    Func,
    Service,
    /// Of a later version of candid: no value of it can be read.
    Future,
}

impl Table {
    fn read(rest: &mut Bytes<'_>) -> Option<Self> {
        let count = rest.length()?;
        let mut table = Self {
            types: Vec::with_capacity(count.min(32)),
            fields: Vec::with_capacity(16),
        };
        for _ in 0..count {
            let composite = match rest.type_ref()? {
                primitive::OPT => Composite::Opt(rest.type_ref()?),
                primitive::VEC => Composite::Vec(rest.type_ref()?),
                primitive::RECORD => table.fields(rest, Composite::Record)?,
                primitive::VARIANT => table.fields(rest, Composite::Variant)?,
                primitive::FUNC => {
                    // Arguments and results are types, annotations single bytes.
                    for _ in 0..2 {
                        for _ in 0..rest.length()? {
                            rest.type_ref()?;
                        }
                    }
                    rest.sized()?;
                    Composite::Func
                }
                primitive::SERVICE => {
                    for _ in 0..rest.length()? {
                        rest.sized()?;
                        rest.type_ref()?;
                    }
                    Composite::Service
                }
                _ => {
                    rest.sized()?;
                    Composite::Future
                }
            };
            table.types.push(composite);
        }
        Some(table)
    }

    fn fields(
        &mut self,
        rest: &mut Bytes<'_>,
        composite: fn(usize, usize) -> Composite,
    ) -> Option<Composite> {
        let (first, count) = (self.fields.len(), rest.length()?);
        for _ in 0..count {
            let id = u32::try_from(rest.number()?).ok()?;
            self.fields.push((id, rest.type_ref()?));
        }
        Some(composite(first, count))
    }
}

struct Writer<'a> {
    table: Table,
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

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Unsigned LEB128 of up to 35 bits: longer than any id, and than any length that an argument can have.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        const MORE: u64 = 0x80_8080_8080;
        if let Some((byte @ ..0x80, rest)) = self.0.split_first() {
            self.0 = rest;
            return Some(u64::from(*byte));
        }
        // Eight bytes at a time: the ids of fields have five.
        let bytes = match self.0.first_chunk() {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => {
                let mut bytes = [0x80; 8];
                bytes[..self.0.len()].copy_from_slice(self.0);
                u64::from_le_bytes(bytes)
            }
        };
        let last = !bytes & MORE;
        if last == 0 {
            return None;
        }
        let bits = last.trailing_zeros() + 1;
        self.0 = self.0.get((bits / 8) as usize..)?;
        let bytes = bytes & ((1 << bits) - 1);
        let digit = |place: u32| bytes >> place & (0x7F << (7 * place));
        Some(digit(0) | digit(1) | digit(2) | digit(3) | digit(4))
    }

    #[inline]
    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// Signed LEB128 of up to 35 bits. Nearly all are one byte.
    #[inline]
    fn type_ref(&mut self) -> Option<TypeRef> {
        if let Some((byte @ ..0x80, rest)) = self.0.split_first() {
            self.0 = rest;
            return Some(TypeRef::from((byte << 1) as i8 >> 1));
        }
        let before = self.0.len();
        let number = self.number()?;
        let unused = 64 - 7 * (before - self.0.len());
        TypeRef::try_from((number << unused) as i64 >> unused).ok()
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// Principals, and services with them, may be opaque references, which no IC message holds.
    fn principal(&mut self) -> Option<&'a [u8]> {
        match self.byte()? {
            1 => self.sized(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
