//! The parts of a client of HTTP servers before there is a request: URLs, proxies, TLS and connections; and the messages of refusals for
//! people, without secrets. Exporters, the fetching of tokens and alerts use this module; it knows none of them.

mod dial;
mod first_bytes;
mod origin;
mod proxy;
mod refusal;
mod secrets;
mod system_roots;
mod tls;
mod url;

pub(crate) use self::dial::{Connector, dial};
pub use self::dial::{DialError, Dialer};
pub(crate) use self::first_bytes::{FirstBytes, Spoken};
pub use self::origin::Origin;
pub(crate) use self::proxy::Way;
pub use self::proxy::{Proxies, ProxyError};
pub(crate) use self::refusal::{content_type, understood};
pub use self::refusal::{error_message, retry_after};
pub(crate) use self::secrets::{
    MARGIN, MAX_CHARS, MIN_SECRET, chain, configured, keep_secret, one_line, searched, shortened,
    without_last,
};
pub use self::secrets::{Secrets, is_basic_credential};
pub(crate) use self::tls::Tls;
pub use self::tls::{TlsClientSettings, TlsError};
pub use self::url::{LONGEST_HOST, UrlError, has_usable_port};
pub(crate) use self::url::{is_https, parse_url, shown_url};
