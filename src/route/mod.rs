//! Which stream an entry belongs to.

mod template;

pub use template::{Place, RenderError, Template, TemplateError, Values};
