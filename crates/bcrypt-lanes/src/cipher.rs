//! Blowfish, for several keys side by side.
//!
//! A round of Blowfish is four table loads that depend on the round before, so a core that computes
//! one bcrypt waits for its cache most of the time. Here each round of `N` independent ciphers is
//! written out before any of them goes on to the next. Nothing in those `N` depends on each other,
//! so a core fills the wait of one with the work of the others. That is all there is to it: no
//! vector instructions (their gathers are slower than plain loads), no unsafe code.

#![expect(clippy::indexing_slicing, reason = "every index is bounded by a constant or a byte")]
#![expect(
    clippy::inline_always,
    reason = "the halves stay in registers only where this is inlined"
)]

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::pi;

/// Words of a key: as many as there are subkeys, the bytes repeated until they are filled.
pub(crate) const WORDS: usize = 18;

/// One cipher: its subkeys and S-boxes, 4,168 bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Cipher {
    subkeys: [u32; WORDS],
    boxes: [[u32; 256]; 4],
}

/// The halves of a block in each of `N` ciphers.
struct Blocks<const N: usize> {
    left: [u32; N],
    right: [u32; N],
}

impl Cipher {
    /// The cipher before it has seen a key.
    pub(crate) const START: Self = Self { subkeys: pi::P, boxes: pi::S };

    /// Encrypts a block `times` over.
    pub(crate) fn encrypt(&self, [left, right]: [u32; 2], times: usize) -> [u32; 2] {
        let mut block = Blocks { left: [left], right: [right] };
        for _ in 0..times {
            block.encrypt(std::array::from_ref(self));
        }
        [block.left[0], block.right[0]]
    }

    /// Expands a key with a salt: bcrypt's first expansion.
    pub(crate) fn expand_salted(&mut self, key: &[u32; WORDS], salt: [u32; 4]) {
        expand_with(std::array::from_mut(self), [key], |block, number| {
            let half = 2 * (number % 2);
            block.left[0] ^= salt[half];
            block.right[0] ^= salt[half + 1];
        });
    }

    /// Blowfish's F. The bytes are shifted out one by one: taken as an array, they cost a swap of
    /// the bytes first, right where the next round waits (8% of all).
    #[inline(always)]
    fn mixed(&self, half: u32) -> u32 {
        let byte = |shift: u32| ((half >> shift) & 0xff) as usize;
        let [first, second, third, fourth] = &self.boxes;
        let sum = first[byte(24)].wrapping_add(second[byte(16)]);
        (sum ^ third[byte(8)]).wrapping_add(fourth[byte(0)])
    }
}

/// Expands a key in each of the first ciphers, as many as there are keys, at most eight.
///
/// It is no generic function, so that it is compiled here, optimised: whoever uses the lanes in a
/// debug build would compile it anew otherwise, and be slow.
pub(crate) fn expand_each(ciphers: &mut [Cipher], keys: &[&[u32; WORDS]]) {
    match keys.len() {
        0 => {}
        1 => expand::<1>(ciphers, keys),
        2 => expand::<2>(ciphers, keys),
        3 => expand::<3>(ciphers, keys),
        4 => expand::<4>(ciphers, keys),
        5 => expand::<5>(ciphers, keys),
        6 => expand::<6>(ciphers, keys),
        7 => expand::<7>(ciphers, keys),
        _ => expand::<8>(ciphers, keys),
    }
}

fn expand<const N: usize>(ciphers: &mut [Cipher], keys: &[&[u32; WORDS]]) {
    let (ciphers, keys) = (ciphers.first_chunk_mut::<N>(), keys.first_chunk::<N>());
    if let (Some(ciphers), Some(keys)) = (ciphers, keys) {
        expand_with(ciphers, *keys, |_, _| ());
    }
}

/// Expands a key in each of `N` ciphers; `mix` changes each block before it is encrypted.
#[inline]
fn expand_with<const N: usize>(
    ciphers: &mut [Cipher; N],
    keys: [&[u32; WORDS]; N],
    mix: impl Fn(&mut Blocks<N>, usize),
) {
    for (cipher, key) in ciphers.iter_mut().zip(keys) {
        for (subkey, word) in cipher.subkeys.iter_mut().zip(key) {
            *subkey ^= word;
        }
    }
    let mut blocks = Blocks { left: [0; N], right: [0; N] };
    for pair in 0..WORDS / 2 {
        mix(&mut blocks, pair);
        blocks.encrypt(ciphers);
        for (lane, cipher) in ciphers.iter_mut().enumerate() {
            cipher.subkeys[2 * pair] = blocks.left[lane];
            cipher.subkeys[2 * pair + 1] = blocks.right[lane];
        }
    }
    for table in 0..4 {
        for pair in 0..128 {
            // Nine blocks went before, and each table takes an even number.
            mix(&mut blocks, pair + 1);
            blocks.encrypt(ciphers);
            for (lane, cipher) in ciphers.iter_mut().enumerate() {
                cipher.boxes[table][2 * pair] = blocks.left[lane];
                cipher.boxes[table][2 * pair + 1] = blocks.right[lane];
            }
        }
    }
}

impl<const N: usize> Blocks<N> {
    /// Encrypts the block of each cipher, round by round.
    ///
    /// The rounds stand here one by one, because the numbers of their subkeys are known then: as a
    /// loop eight lanes take up to 5% longer.
    #[inline(always)]
    fn encrypt(&mut self, ciphers: &[Cipher; N]) {
        let Self { left, right } = self;
        for (half, cipher) in left.iter_mut().zip(ciphers) {
            *half ^= cipher.subkeys[0];
        }
        round(right, left, ciphers, 1);
        round(left, right, ciphers, 2);
        round(right, left, ciphers, 3);
        round(left, right, ciphers, 4);
        round(right, left, ciphers, 5);
        round(left, right, ciphers, 6);
        round(right, left, ciphers, 7);
        round(left, right, ciphers, 8);
        round(right, left, ciphers, 9);
        round(left, right, ciphers, 10);
        round(right, left, ciphers, 11);
        round(left, right, ciphers, 12);
        round(right, left, ciphers, 13);
        round(left, right, ciphers, 14);
        round(right, left, ciphers, 15);
        round(left, right, ciphers, 16);
        for (half, cipher) in right.iter_mut().zip(ciphers) {
            *half ^= cipher.subkeys[17];
        }
        std::mem::swap(left, right);
    }
}

/// One round in each cipher: what F makes of one half goes `into` the other one, and so does the
/// subkey that is due there before the next round, which waits for nothing.
#[inline(always)]
fn round<const N: usize>(
    into: &mut [u32; N],
    half: &[u32; N],
    ciphers: &[Cipher; N],
    number: usize,
) {
    for ((into, half), cipher) in into.iter_mut().zip(half).zip(ciphers) {
        *into ^= cipher.mixed(*half) ^ cipher.subkeys[number];
    }
}
