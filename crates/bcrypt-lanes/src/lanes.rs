//! The lanes of one thread: bcrypts that run side by side, each joining and leaving on its own.
//!
//! ```text
//!            step   step   step   step   step   step
//!   lane 0   a      a      a      a      d      d       a is done and d, the last, takes its lane
//!   lane 1   b      b      b      b      b      b
//!   lane 2          c      c      c      c      c       c joined between two steps
//!   lane 3                        d
//! ```
//!
//! A step expands one key in every lane in use. A bcrypt of cost 10 is 2,048 steps, so what joins
//! waits for one step, some 30 to 60 microseconds, and different costs go together.

use arrayvec::ArrayVec;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::cipher::{Cipher, WORDS, expand_each};

/// Most bcrypts side by side. Their tables are 33 KiB, which fits the data cache next to a core;
/// with more they push each other out and all get slower.
pub const LANES: usize = 8;

/// Most bytes of a password that bcrypt reads.
pub const PASSWORD_BYTES_MAX: usize = 72;

/// What bcrypt gives: 24 bytes, of which its text form keeps 23.
pub type Digest = Zeroizing<[u8; 24]>;

/// A bcrypt to compute.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Work {
    cost: u32,
    salt: [u32; 4],
    /// The password, and the salt, each repeated to the length of a key.
    keys: [[u32; WORDS]; 2],
}

impl Work {
    /// The bcrypt of a password with a salt, of 2^`cost` rounds; `cost` is taken as at most 31.
    ///
    /// Of the password the first [`PASSWORD_BYTES_MAX`] bytes count, after the NUL that the
    /// variants `2a`, `2b` and `2y` put behind it. A password that holds a NUL is the caller's
    /// to refuse: `a` and `a NUL a` have one bcrypt.
    pub fn new(cost: u32, salt: [u8; 16], password: &[u8]) -> Self {
        let password = password.iter().chain(&[0]).take(PASSWORD_BYTES_MAX);
        let mut words = [0; 4];
        fill(&mut words, salt.iter());
        let mut keys = [[0; WORDS]; 2];
        let [of_password, of_salt] = &mut keys;
        fill(of_password, password);
        fill(of_salt, salt.iter());
        Self { cost: cost.min(31), salt: words, keys }
    }
}

/// Fills words with bytes, big end first, starting over at the end of the bytes.
fn fill<'a>(words: &mut [u32], bytes: impl Iterator<Item = &'a u8> + Clone) {
    let mut bytes = bytes.cycle();
    for word in words {
        *word = bytes.by_ref().take(4).fold(0, |word, byte| (word << 8) | u32::from(*byte));
    }
}

/// Who runs in a lane, and how far it is.
struct Running<T> {
    name: T,
    work: Work,
    /// Expansions still to do. An even number of them are left when the password's turn comes.
    left: u64,
}

/// Up to [`LANES`] bcrypts side by side, each with a name that comes back with its digest.
pub struct Lanes<T> {
    /// One a lane; those in use come first.
    ciphers: Vec<Cipher>,
    running: ArrayVec<Running<T>, LANES>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { ciphers: vec![Cipher::START; LANES], running: ArrayVec::new() }
    }
}

impl<T> Lanes<T> {
    /// How many are in use.
    pub fn busy(&self) -> usize {
        self.running.len()
    }

    /// Puts a bcrypt into a free lane; gives its name back when there is none.
    pub fn join(&mut self, name: T, work: Work) -> Result<(), T> {
        let Some(cipher) = self.ciphers.get_mut(self.running.len()) else { return Err(name) };
        *cipher = Cipher::START;
        let [password, _] = &work.keys;
        cipher.expand_salted(password, work.salt);
        let left = 2_u64 << work.cost;
        let joined = self.running.try_push(Running { name, work, left });
        joined.map_err(|full| full.element().name)
    }

    /// Takes every bcrypt one step on, and hands over those that are done.
    pub fn step(&mut self, mut done: impl FnMut(T, Digest)) {
        self.expand();
        let mut lane = 0;
        while let Some(running) = self.running.get_mut(lane) {
            running.left -= 1;
            if running.left > 0 {
                lane += 1;
            } else if let Some((name, digest)) = self.leave(lane) {
                done(name, digest);
            }
        }
    }

    /// One key expansion in each lane in use.
    fn expand(&mut self) {
        let keys = self.running.iter().map(|running| running.work.next_key(running.left));
        expand_each(&mut self.ciphers, &keys.collect::<ArrayVec<_, LANES>>());
    }

    /// Ends the bcrypt in a lane. The last one in use moves there, so that there is no gap.
    fn leave(&mut self, lane: usize) -> Option<(T, Digest)> {
        let last = self.running.len().checked_sub(1)?;
        self.ciphers.swap(lane, last);
        let Running { name, .. } = self.running.swap_pop(lane)?;
        let cipher = self.ciphers.get_mut(last)?;
        let digest = digest_of(cipher);
        cipher.zeroize();
        Some((name, digest))
    }
}

impl Work {
    /// The key whose turn it is with so many expansions left: password and salt in turns.
    fn next_key(&self, left: u64) -> &[u32; WORDS] {
        let [password, salt] = &self.keys;
        if left.is_multiple_of(2) { password } else { salt }
    }
}

/// What a finished cipher makes of bcrypt's own text.
fn digest_of(cipher: &Cipher) -> Digest {
    const TEXT: &[u8; 24] = b"OrpheanBeholderScryDoubt";
    let mut digest = Zeroizing::new(*TEXT);
    let (blocks, _) = digest.as_chunks_mut::<8>();
    for block in blocks {
        let mut halves = [0; 2];
        fill(&mut halves, block.iter());
        let halves = cipher.encrypt(halves, 64).map(u32::to_be_bytes);
        block.copy_from_slice(halves.as_flattened());
    }
    digest
}
