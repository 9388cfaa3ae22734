//! Why an entry can't be routed at all.

/// Why no route is asked for an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unroutable {
    /// Servers differ in which of the values they take.
    #[error("the resource attribute `{0}` occurs twice with different values")]
    Conflicting(String),
    /// The same of an attribute of its records.
    #[error("the attribute `{0}` of its records occurs twice with different values")]
    ConflictingOnRecord(String),
    /// A header of its request occurs twice with different values.
    #[error("the header `{0}` of its request occurs twice with different values")]
    ConflictingInRequest(String),
}
