//! Sluice, an OTLP stream router.

pub mod cli;
pub mod config;
pub mod export;
mod notice;
pub mod otlp;
pub mod receive;
pub mod route;
pub mod stream;
