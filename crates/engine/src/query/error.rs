//! The error of a query that can't be read.

use thiserror::Error;

/// A query that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message} (column {column} of the query)")]
pub struct QueryError {
    /// The character at which it is wrong, from 1.
    pub column: usize,
    /// The fault, and what to write. No part of the query is repeated in it, so that it can be shown to readers who may not see the
    /// query.
    pub message: String,
}
