//! What the configuration says about routing, compiled.

use super::matcher::Matcher;
use super::template::Template;

/// One route.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// The configured name, or `route-N` by position from 1.
    pub name: String,
    /// Resource attributes and what must hold for them; all must.
    pub matches: Vec<(String, Matcher)>,
    /// Which signals it takes, by `Signal::index`.
    pub signals: [bool; 3],
    /// What names the stream.
    pub key: KeySpec,
    /// Positions in the list of exporters; each gets every entry. Never empty, without repetition.
    pub exporters: Vec<usize>,
    /// Whether later routes are asked, too.
    pub continues: bool,
    /// Streams alive at a time that come from this route.
    pub max_streams: Option<usize>,
}

/// What names the stream of an entry.
#[derive(Clone, Debug)]
pub enum KeySpec {
    /// Nothing in the data: the route is one stream, named like the route.
    Route,
    /// Resource attributes; the first that is present names it.
    Attributes(Vec<String>),
    /// A template over resource attributes and the signal; never over the key itself.
    Template(Template),
}

/// What happens to entries that no route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// They are named to the sender by partial success.
    Reject,
    /// They are dropped, and counted.
    Drop,
}
