//! Arbitrary damage to the bytes of messages, and bytes that are nearly OTLP.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::arbitrary::text;

/// Damage to some bytes.
#[derive(Clone, Debug)]
pub(super) enum RequestDamage {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Truncate(Index),
    /// Copies a part to another place.
    Copy(Index, usize, Index),
}

impl RequestDamage {
    pub(super) fn arbitrary() -> impl Strategy<Value = Self> {
        let at = any::<Index>;
        // Bytes with a meaning in the schemas: keys, lengths, the sign of a longer varint.
        let byte = prop_oneof![any::<u8>(), 0..0x80_u8, Just(0x80), Just(0xff)];
        prop_oneof![
            (at(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, bit)),
            (at(), byte.clone()).prop_map(|(at, byte)| Self::Set(at, byte)),
            (at(), vec(byte, 1..4)).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            (at(), 1..4_usize).prop_map(|(at, len)| Self::Remove(at, len)),
            at().prop_map(Self::Truncate),
            (at(), 1..40_usize, at()).prop_map(|(from, len, to)| Self::Copy(from, len, to)),
        ]
    }

    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let end = |start: usize, len: usize, bytes: &[u8]| (start + len).min(bytes.len());
        match self {
            Self::Flip(at, bit) => *at.get_mut(bytes) ^= 1 << bit,
            Self::Set(at, byte) => *at.get_mut(bytes) = *byte,
            Self::Insert(at, inserted) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, inserted.iter().copied());
            }
            Self::Remove(at, len) => {
                let at = at.index(bytes.len());
                bytes.drain(at..end(at, *len, bytes));
            }
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Self::Copy(from, len, to) => {
                let from = from.index(bytes.len());
                let part = bytes[from..end(from, *len, bytes)].to_vec();
                let to = to.index(bytes.len());
                bytes.splice(to..to, part);
            }
        }
    }
}

/// Nested fields with right lengths and any numbers and wire types: near enough to OTLP to get far into it, and
/// wrong in most ways that a sender could think of.
pub(super) fn wire() -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![8 => 1..4_u32, 4 => 4..17_u32, 1 => Just(1000_u32), 1 => any::<u32>()];
    let scalar = prop_oneof![
        any::<u64>().prop_map(|value| (0, varint(value))),
        vec(any::<u8>(), 1..11).prop_map(|bytes| (0, bytes)),
        any::<[u8; 8]>().prop_map(|bytes| (1, bytes.to_vec())),
        any::<[u8; 4]>().prop_map(|bytes| (5, bytes.to_vec())),
        text().prop_map(|text| (2, delimited(text.as_bytes()))),
        prop::sample::select(vec![0, 7, 8, 16]).prop_map(|len| (2, delimited(&vec![1; len]))),
        (3..8_u32).prop_map(|wire| (wire, Vec::new())),
    ];
    let field =
        (number(), scalar).prop_map(|(number, (wire, bytes))| [key(number, wire), bytes].concat()).boxed();
    field.prop_recursive(8, 64, 4, move |inner| {
        (number(), vec(inner, 0..4))
            .prop_map(|(number, fields)| [key(number, 2), delimited(&fields.concat())].concat())
    })
}

fn key(number: u32, wire: u32) -> Vec<u8> {
    varint(u64::from(number) << 3 | u64::from(wire))
}

fn delimited(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    crate::wire::put_varint(&mut out, value);
    out
}
