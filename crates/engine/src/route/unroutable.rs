//! Why an entry can't be routed at all.

/// Why no route is asked for an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unroutable {
    /// A resource attribute occurs twice with different values, of which servers take different ones.
    #[error("the resource attribute `{0}` occurs twice with different values")]
    Conflicting(String),
    /// An attribute of its records occurs twice with different values.
    #[error("the attribute `{0}` of its records occurs twice with different values")]
    ConflictingOnRecord(String),
    /// A header of its request occurs twice with different values.
    #[error("the header `{0}` of its request occurs twice with different values")]
    ConflictingInRequest(String),
}
