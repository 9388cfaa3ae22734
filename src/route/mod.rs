//! Which stream an entry belongs to.

mod matcher;
mod spec;
mod template;

pub use matcher::{Glob, Matcher};
pub use spec::{KeySpec, RouteSpec, Unrouted};
pub use template::{Place, RenderError, Template, TemplateError, Values};
