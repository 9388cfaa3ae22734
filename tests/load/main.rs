//! `sluice send` and `sluice sink` against each other, and each against raw sockets.

mod faults;
mod order;
mod raw;
mod send;
