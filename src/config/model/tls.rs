//! `tls` of exporters, and the versions of TLS.

use std::path::PathBuf;

use serde::Deserialize;

/// TLS towards an upstream. Files are PEM; a change of them is noticed.
#[derive(Clone, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "Tls"))]
pub(in crate::config) struct TlsSection {
    /// No TLS. For `otlp_http` the URL's scheme decides instead.
    pub(in crate::config) insecure: bool,
    /// Accept any certificate of the server. Anyone in between can then read and change what is sent.
    pub(in crate::config) insecure_skip_verify: bool,
    /// Certificate authorities to trust instead of the system's.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) ca_file: Option<PathBuf>,
    /// The client's certificate chain.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) cert_file: Option<PathBuf>,
    /// The key of the client's certificate.
    #[cfg_attr(test, schemars(extend("x-shown" = "path")))]
    pub(in crate::config) key_file: Option<PathBuf>,
    /// The name to ask for and to verify, instead of the URL's host.
    #[cfg_attr(test, schemars(extend("x-shown" = "url")))]
    pub(in crate::config) server_name_override: Option<String>,
    /// The lowest version spoken. 1.3 is spoken with every server that can.
    pub(in crate::config) min_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
pub(in crate::config) enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}
