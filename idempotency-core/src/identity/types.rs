//! The types that a candid argument brings before its values.

use std::cell::RefCell;

/// Candid's number of a type: one of the table, or below zero a primitive one.
pub(super) type TypeRef = i32;

pub(super) mod primitive {
    use super::TypeRef;
    pub(crate) const NULL: TypeRef = -1;
    pub(crate) const BOOL: TypeRef = -2;
    pub(crate) const NAT: TypeRef = -3;
    pub(crate) const INT: TypeRef = -4;
    pub(crate) const NAT8: TypeRef = -5;
    pub(crate) const NAT64: TypeRef = -8;
    pub(crate) const INT8: TypeRef = -9;
    pub(crate) const INT64: TypeRef = -12;
    pub(crate) const FLOAT32: TypeRef = -13;
    pub(crate) const FLOAT64: TypeRef = -14;
    pub(crate) const TEXT: TypeRef = -15;
    pub(crate) const RESERVED: TypeRef = -16;
    pub(crate) const OPT: TypeRef = -18;
    pub(crate) const VEC: TypeRef = -19;
    pub(crate) const RECORD: TypeRef = -20;
    pub(crate) const VARIANT: TypeRef = -21;
    pub(crate) const FUNC: TypeRef = -22;
    pub(crate) const SERVICE: TypeRef = -23;
    pub(crate) const PRINCIPAL: TypeRef = -24;
}

/// The types that an argument brings.
pub(super) struct Table {
    pub(super) types: Vec<Composite>,
    /// Id and type of the fields of all records and the cases of all variants.
    pub(super) fields: Vec<(u32, TypeRef)>,
}

#[derive(Clone, Copy)]
pub(super) enum Composite {
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

/// A table of types that an argument brought.
struct Known {
    /// As the argument began with it.
    bytes: Vec<u8>,
    table: Table,
}

thread_local! {
    /// The last ones, the oldest first. A client's calls of a method all bring the same one, and to compare it takes a tenth of what reading
    /// it does. With the two limits below they take some 60 KB at most.
    static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(vec![]) };
}

const MOST_KNOWN: usize = 8;

/// Longer ones are read each time.
const MOST_BYTES: usize = 512;

/// Reads the types with which `argument` begins, and works with them and with what follows.
pub(super) fn with_table<T>(
    argument: &[u8],
    work: impl FnOnce(&Table, Bytes<'_>) -> Option<T>,
) -> Option<T> {
    KNOWN.with_borrow_mut(|all| {
        let known = all.iter().find_map(|known| {
            let (types, rest) = argument.split_at_checked(known.bytes.len())?;
            are_equal(types, &known.bytes).then_some((&known.table, rest))
        });
        if let Some((table, rest)) = known {
            return work(table, Bytes(rest));
        }
        let mut rest = Bytes(argument);
        let table = Table::read(&mut rest)?;
        let (types, rest) = argument.split_at_checked(argument.len() - rest.0.len())?;
        let worked = work(&table, Bytes(rest));
        if types.len() <= MOST_BYTES {
            if all.len() == MOST_KNOWN {
                all.remove(0);
            }
            let bytes = types.to_vec();
            all.push(Known { bytes, table });
        }
        worked
    })
}

/// Eight bytes at a time, as a canister compares slices one by one.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    let ((one, end), (other, other_end)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| u64::from_le_bytes(*one) == u64::from_le_bytes(*other))
        && end == other_end
}

/// What is left to read.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Unsigned LEB128 of up to 35 bits: longer than any id, and than any length that an argument can have.
    #[inline]
    pub(super) fn number(&mut self) -> Option<u64> {
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
    pub(super) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// Signed LEB128 of up to 35 bits. Nearly all are one byte.
    #[inline]
    pub(super) fn type_ref(&mut self) -> Option<TypeRef> {
        if let Some((byte @ ..0x80, rest)) = self.0.split_first() {
            self.0 = rest;
            return Some(TypeRef::from((byte << 1) as i8 >> 1));
        }
        let before = self.0.len();
        let number = self.number()?;
        let unused = 64 - 7 * (before - self.0.len());
        TypeRef::try_from((number << unused) as i64 >> unused).ok()
    }

    pub(super) fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// Principals, and services with them, may be opaque references, which no IC message holds.
    pub(super) fn principal(&mut self) -> Option<&'a [u8]> {
        match self.byte()? {
            1 => self.sized(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::encode_args;

    /// What was read of an argument, and how much followed.
    fn read(argument: &[u8]) -> Option<(usize, usize, usize)> {
        with_table(&argument[4..], |table, rest| {
            Some((table.types.len(), table.fields.len(), rest.0.len()))
        })
    }

    fn known() -> usize {
        KNOWN.with_borrow(Vec::len)
    }

    #[test]
    fn what_is_known_is_as_it_is_read() {
        let arguments = [
            encode_args(()).unwrap(),
            encode_args((1u8,)).unwrap(),
            encode_args((vec![1u8],)).unwrap(),
            encode_args((Some(vec![1u8]), vec![1u8])).unwrap(),
            encode_args((vec![Some(1u8)],)).unwrap(),
            encode_args((Ok::<u8, String>(1),)).unwrap(),
        ];
        // Each is known the second time, whichever others there are.
        let first = arguments.each_ref().map(|argument| read(argument));
        assert!(first.iter().all(Option::is_some));
        let all = known();
        assert!(all < arguments.len(), "some have no types of their own");
        for _ in 0..3 {
            assert_eq!(arguments.each_ref().map(|argument| read(argument)), first);
        }
        assert_eq!(known(), all);
    }

    /// One that begins like another, and goes on otherwise.
    #[test]
    fn a_table_is_compared_to_its_end() {
        let short = b"DIDL\x01\x6e\x7b\x01\x00\x00";
        let long = b"DIDL\x02\x6e\x7b\x6d\x7b\x01\x00\x00";
        let other = b"DIDL\x01\x6e\x7a\x01\x00\x00";
        for _ in 0..2 {
            assert_eq!(read(short), Some((1, 0, 3)));
            assert_eq!(read(long), Some((2, 0, 3)));
            assert_eq!(read(other), Some((1, 0, 3)));
            assert_eq!(read(&short[..6]), None);
        }
    }

    #[test]
    fn they_take_little_room_whatever_is_sent() {
        for count in 0..100u8 {
            let table = [&[count][..], &[0x6e, 0x7b].repeat(count.into())].concat();
            let argument = [b"DIDL", &table[..], &[0]].concat();
            assert_eq!(read(&argument), Some((count.into(), 0, 1)));
            assert!(known() <= MOST_KNOWN);
        }
        let long = [
            b"DIDL",
            &[0xC0, 0x04][..],
            &[0x6e, 0x7b].repeat(0x240),
            &[0],
        ]
        .concat();
        assert_eq!(read(&long), Some((0x240, 0, 1)));
        let longest = KNOWN.with_borrow(|all| all.iter().map(|known| known.bytes.len()).max());
        assert!(longest <= Some(MOST_BYTES));
    }
}
