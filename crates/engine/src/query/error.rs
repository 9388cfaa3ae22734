//! What is wrong with a query.

use thiserror::Error;

/// A query that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message} (column {column} of the query)")]
pub struct QueryError {
    /// The character at which it is wrong, from 1.
    pub column: usize,
    /// What is wrong, and what to write. Nothing of the query is repeated in it, so that it can be shown to whoever may not see that.
    pub message: String,
}
