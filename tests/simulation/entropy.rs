//! Randomness that follows from a seed, for one thread.
//!
//! What is random in Sluice and in the crates that it uses - keys of hash maps, jitter, the branch that a `select!` looks
//! at first - comes from the C library's `getrandom` in the end. This replaces it, so that the code that is tested needs no
//! second way to be random, and stays as unpredictable in production as it is. Threads without a seed ask the system.

#![expect(unsafe_code, reason = "a function of the C library is replaced, which only C's linkage can do")]

use std::cell::RefCell;
use std::io::Read as _;

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

thread_local! {
    static SOURCE: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// From now on everything random on this thread follows from `seed`. To be called before anything has been random on it.
pub(crate) fn follow(seed: u64) {
    SOURCE.set(Some(StdRng::seed_from_u64(seed)));
}

/// As the C library has it.
///
/// # Safety
///
/// `length` bytes at `buffer` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    if length == 0 {
        return 0;
    }
    // SAFETY: the caller says so, and a byte needs no initialisation to be written.
    let into = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    let seeded = SOURCE.try_with(|source| match source.borrow_mut().as_mut() {
        Some(random) => {
            random.fill_bytes(into);
            true
        }
        None => false,
    });
    if seeded != Ok(true) {
        let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(into));
        if read.is_err() {
            return -1;
        }
    }
    length as isize
}
