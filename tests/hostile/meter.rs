//! What an attack costs the process that is attacked: CPU seconds and resident memory, as the kernel counts them.

use std::future::Future;

use crate::support::SluiceProcess;

/// Bytes of a mebibyte.
pub(crate) const MIB: u64 = 1 << 20;

/// The unit of CPU times in `/proc`, the same on all machines that Rust runs on under Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What an attack has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// User and system time.
    pub(crate) cpu_seconds: f64,
    /// The most that was resident meanwhile, beyond what was resident before.
    pub(crate) memory: u64,
}

/// User and system time that the process has used so far.
pub(crate) fn cpu_seconds(process: &SluiceProcess) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).expect("it runs on Linux");
    // The second field is the name, in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let ticks =
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number of ticks"));
    ticks.sum::<f64>() / TICKS_PER_SECOND
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

/// Asserts that the cost of an attack grows no faster than its size. The costs are those of sizes that double, the smallest
/// first; each may be 2.2 times the one before. Costs below `noise` are too small to be measured, and say nothing.
pub(crate) fn assert_linear(what: &str, costs: &[f64], noise: f64) {
    for pair in costs.windows(2) {
        let [half, whole] = [pair[0], pair[1]];
        assert!(
            whole <= noise || whole <= 2.2 * half.max(noise / 2.0),
            "{what}: twice as much costs {half}, then {whole}: {costs:?}"
        );
    }
}
