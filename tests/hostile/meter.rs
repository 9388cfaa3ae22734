//! What an attack costs the process that is attacked: CPU seconds and resident memory, as the kernel counts them.

use std::future::Future;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::support::SluiceProcess;

/// Bytes of a kibibyte.
pub(crate) const KIB: u64 = 1 << 10;

/// Bytes of a mebibyte.
pub(crate) const MIB: u64 = 1 << 20;

/// What an attack has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// User and system time.
    pub(crate) cpu_seconds: f64,
    /// The most that was resident meanwhile, beyond what was resident before.
    pub(crate) memory: u64,
}

/// User and system time that the process has used so far, of threads that have ended as well.
pub(crate) fn cpu_seconds(process: &SluiceProcess) -> f64 {
    // The clock has nanoseconds; `/proc` has steps of ten milliseconds, too coarse for what is compared here.
    let process = Pid::from_raw(i32::try_from(process.pid()).expect("the kernel has numbered it"));
    let time = clock_getcpuclockid(process).and_then(clock_gettime).expect("the process is ours");
    Duration::from(time).as_secs_f64()
}

/// The most that was resident at a time since the process began, or since [`forget_peak`].
pub(crate) fn peak_memory(process: &SluiceProcess) -> u64 {
    process.peak_resident_bytes()
}

/// Makes what is resident now the most that ever was.
pub(crate) fn forget_peak(process: &SluiceProcess) {
    // See `clear_refs` in proc(5).
    std::fs::write(format!("/proc/{}/clear_refs", process.pid()), "5").expect("the process is ours");
}

/// What the process needs for an attack, from its beginning to its end.
pub(crate) async fn cost_of<T>(process: &SluiceProcess, attack: impl Future<Output = T>) -> (T, Cost) {
    forget_peak(process);
    let (before, cpu) = (process.resident_bytes(), cpu_seconds(process));
    let done = attack.await;
    let cost =
        Cost { cpu_seconds: cpu_seconds(process) - cpu, memory: peak_memory(process).saturating_sub(before) };
    (done, cost)
}

/// CPU time by which the least of some rounds may vary on a busy machine.
const NOISE_SECONDS: f64 = 0.05;

/// Asserts that an attack costs CPU time in proportion to its size; returns the most memory that any of them took.
///
/// `attacks` are attacks of sizes that double, the smallest first. They may cost 2.2 times as much with each doubling,
/// over the whole series. Whatever else goes on on the machine only adds to a cost, so that the least of some rounds counts:
/// of three at least, since a smallest attack that was measured too high would let the others pass, and of more as long as
/// the series does not fit.
pub(crate) async fn assert_linear<A>(
    what: &str,
    process: &SluiceProcess,
    attacks: &[A],
    attack: impl AsyncFn(&A),
) -> u64 {
    const ROUNDS: usize = 10;
    const LEAST_ROUNDS: usize = 3;
    // What the first of its kind costs once is nobody's measure.
    attack(&attacks[0]).await;
    let mut least = vec![f64::MAX; attacks.len()];
    let mut memory = 0;
    for round in 1..=ROUNDS {
        for (least, size) in least.iter_mut().zip(attacks) {
            let ((), cost) = cost_of(process, attack(size)).await;
            *least = least.min(cost.cpu_seconds);
            memory = memory.max(cost.memory);
        }
        let [first, .., last] = least[..] else { panic!("{what}: there is nothing to compare") };
        let doublings = i32::try_from(attacks.len() - 1).expect("there are a few");
        if round >= LEAST_ROUNDS && last <= 2.2_f64.powi(doublings) * first + NOISE_SECONDS {
            return memory;
        }
    }
    panic!("{what}: each twice as large as the one before, they cost {least:?} seconds of CPU time");
}
