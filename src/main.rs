//! The `sluice` program: parses its arguments and hands over to the library.

use std::process::ExitCode;

/// Large buffers come and go with every batch; this allocator keeps them at hand instead of asking the system anew.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    sluice::cli::main(sluice::cli::Arguments::of_process())
}
