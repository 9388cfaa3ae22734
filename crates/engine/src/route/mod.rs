//! Which stream an entry belongs to.
//!
//! [`RouteTable`] is the compiled `routes` section: it matches attributes of resources and records, builds the routing key and names
//! the exporters. It knows streams only by name.

mod edits;
mod entry_routes;
mod key;
mod matcher;
mod request;
mod spec;
mod table;
mod template;
mod tested_value;
mod unroutable;

pub use crate::glob::Glob;
pub use edits::{EditError, RouteEdit, TakenEntry, edited};
pub use entry_routes::{CopyAllowance, EntryRoutes};
pub use key::RoutingKey;
pub use matcher::{ExactValue, Matcher, Mismatch};
pub use request::RequestHeaders;
pub use spec::{KeySource, KeySpec, RouteSpec, Unrouted};
pub use table::{EntryOrigin, Hit, Miss, Overridden, RecordHint, RouteTable};
pub use template::{
    RenderError, RenderedUrl, TENANT_ID, Template, TemplateError, TemplateTarget, TemplateValue, Values,
};
pub use tested_value::{LONGEST_KEY, TestedValue, UnusableValue};
pub use unroutable::Unroutable;
