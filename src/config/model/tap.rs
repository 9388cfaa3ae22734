//! `tap` and `watches`: what is looked for among records as they pass.

use serde::Deserialize;

use super::{ByteSize, TenantGlobs};

/// Who sees records as they pass, and what of them.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TapSection {
    /// Regular expressions of what is not shown. One that matches in the key of an attribute hides its value; one that matches in a
    /// text, or in a number as it is written, hides what it matches. Written, they take the place of [those that are there without](tap.md#secrets).
    pub(in crate::config) redact: Option<Vec<String>>,
    /// Whether whoever may read the admin listener sees records as well. Without it that takes the read token, also on loopback, which
    /// the containers of a Pod share.
    pub(in crate::config) open: bool,
    /// Memory for the newest log records, which `/api/v1/logs` searches, of `limits.memory`; 0 keeps none.
    pub(in crate::config) recent: ByteSize,
}

impl TapSection {
    /// What is hidden where nothing else is written: values of keys that end in such words, what stands behind these words in a
    /// text, and credentials of HTTP. A key is one word: an upstream's `invalid token` is none.
    pub(in crate::config) const USUAL: [&str; 3] = [
        r"(?i)^\S*(authorization|passw(or)?d|passphrase|secret|token|cookie|credentials?|(api|access|secret|private)[._-]?key)$",
        r#"(?i)(passw(or)?d|passphrase|secret|token|(api|access|secret|private)[._-]?key)["']?[ \t]*[=:][ \t]*["']?[^ \t\r\n"',;&]+"#,
        r"(?i)(?-u:\b)(bearer|basic)[ \t]+[a-z0-9_.~+/=-]{8,}",
    ];
}

impl Default for TapSection {
    fn default() -> Self {
        Self { redact: None, open: false, recent: ByteSize(0) }
    }
}

/// A query whose records are counted as they are admitted, and which fires when there are too many or too few.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct WatchSection {
    /// What it is called in metrics and alerts: at most 128 characters.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) name: String,
    /// [What is counted](tap.md#queries). Whoever may read the admin listener and the Alertmanager are shown the query, in which texts
    /// that don't have the form of a name are `[redacted]`.
    #[cfg_attr(test, schemars(extend("x-shown" = "query")))]
    pub(in crate::config) query: String,
    /// The tenants of which each is counted, and fires, by itself: a glob over their ids, or a list of globs. Without it all records
    /// are counted together.
    #[cfg_attr(test, schemars(extend("x-shown" = "words")))]
    pub(in crate::config) tenants: Option<TenantGlobs>,
    /// It fires when there are more records than so many in so long: `10 in 5m`.
    #[cfg_attr(test, schemars(extend("x-shown" = "count in time")))]
    pub(in crate::config) above: Option<String>,
    /// It fires when there are fewer records than so many in so long: `1 in 26h`. Not before Sluice has run for that long.
    #[cfg_attr(test, schemars(extend("x-shown" = "count in time")))]
    pub(in crate::config) below: Option<String>,
}
