//! `sluice schema`: the JSON Schema of the configuration, for editors.

use std::io::{self, Write};

use clap::Args;

use crate::config;

/// Print the JSON Schema of the configuration
///
/// Editors with a YAML language server use it to complete and check keys:
/// `# yaml-language-server: $schema=sluice.schema.json`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice schema > sluice.schema.json")]
pub struct SchemaArgs {}

/// Prints the schema to `out`.
pub fn schema(_: &SchemaArgs, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, config::schema())?;
    writeln!(out)
}
