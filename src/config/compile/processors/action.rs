//! One action of a processor.

use super::{expression, typed};
use crate::config::compile::Context;
use crate::config::compile::url::report_template;
use crate::config::model::{ActionName, AttributeAction, TypeName, WrittenValue};
use crate::config::node::Node;
use crate::config::quoting::listed;
use crate::otlp::{ConvertedType, EditAction, EditKeys, NewValue, ValueSource, WriteWhere};
use crate::route::Template;

/// The keys of an action beside `key` and `action`.
const REST: [&str; 5] = ["value", "from_attribute", "default_value", "pattern", "converted_type"];

/// The keys that an action takes, of [`REST`].
fn taken(action: ActionName) -> &'static [&'static str] {
    match action {
        ActionName::Insert | ActionName::Update | ActionName::Upsert => {
            &["value", "from_attribute", "default_value"]
        }
        ActionName::Delete | ActionName::Hash | ActionName::Extract => &["pattern"],
        ActionName::Convert => &["converted_type"],
    }
}

fn word(action: ActionName) -> &'static str {
    match action {
        ActionName::Insert => "insert",
        ActionName::Update => "update",
        ActionName::Upsert => "upsert",
        ActionName::Delete => "delete",
        ActionName::Hash => "hash",
        ActionName::Extract => "extract",
        ActionName::Convert => "convert",
    }
}

/// Compiles an action; `None` if it has a mistake, which has been reported.
pub(super) fn action(
    written: &AttributeAction,
    node: &Node,
    templates: &mut Vec<Template>,
    context: &mut Context<'_>,
) -> Option<EditAction> {
    let Some(name) = written.action else {
        if !context.is_excused(node, "action") {
            context
                .report
                .error(node.span, "this says nothing of what is done with the attribute")
                .help("write `action: insert`, `update`, `upsert`, `delete`, `hash`, `extract` or `convert`");
        }
        return None;
    };
    let is_written = |key: &str| match key {
        "value" => written.value.is_some(),
        "from_attribute" => written.from_attribute.is_some(),
        "default_value" => written.default_value.is_some(),
        "pattern" => written.pattern.is_some(),
        _ => written.converted_type.is_some(),
    };
    let others = REST.into_iter().filter(|key| is_written(key) && !taken(name).contains(key));
    for other in others {
        let at = node.entry(other).map_or(node.span, |entry| entry.key_span);
        context
            .report
            .error(at, format!("`action: {}` takes no `{other}`", word(name)))
            .help(format!("it takes {}", listed(std::iter::once("key").chain(taken(name).iter().copied()))));
    }
    let by_pattern = matches!(name, ActionName::Delete | ActionName::Hash);
    let key = written.key.clone().filter(|key| !key.is_empty());
    if key.is_none() && !(by_pattern && written.pattern.is_some()) {
        if !context.is_excused(node, "key") {
            let help =
                if by_pattern { "write `key: NAME`, or `pattern: EXPRESSION`" } else { "write `key: NAME`" };
            context.report.error(node.near(&["key"]).span, "the action names no attribute").help(help);
        }
        return None;
    }
    let key = key.unwrap_or_default();
    match name {
        ActionName::Insert | ActionName::Update | ActionName::Upsert => {
            let place = match name {
                ActionName::Insert => WriteWhere::Absent,
                ActionName::Update => WriteWhere::Present,
                _ => WriteWhere::Anywhere,
            };
            let (source, default) = sources(written, node, templates, context)?;
            Some(EditAction::Write { key, place, source, default })
        }
        ActionName::Delete | ActionName::Hash => {
            let pattern = match &written.pattern {
                Some(text) => Some(expression(text, node.near(&["pattern"]), context)?),
                None => None,
            };
            let keys = EditKeys { key: (!key.is_empty()).then_some(key), pattern };
            Some(if name == ActionName::Delete { EditAction::Delete(keys) } else { EditAction::Hash(keys) })
        }
        ActionName::Extract => {
            let Some(text) = &written.pattern else {
                if !context.is_excused(node, "pattern") {
                    context
                        .report
                        .error(node.span, "`action: extract` needs a `pattern`")
                        .help("write one whose groups have the names of attributes: `pattern: \"^(?P<user>[a-z]+)@\"`");
                }
                return None;
            };
            let pattern = expression(text, node.near(&["pattern"]), context)?;
            let mut names = pattern.capture_names().skip(1).peekable();
            if names.peek().is_none() || names.any(|name| name.is_none()) {
                context
                    .report
                    .error(
                        node.near(&["pattern"]).span,
                        "each group of an `extract` has the name of an attribute",
                    )
                    .help("write `(?P<NAME>…)`, and `(?:…)` for what is not to be extracted");
                return None;
            }
            Some(EditAction::Extract { key, pattern })
        }
        ActionName::Convert => {
            if written.converted_type.is_none() && !context.is_excused(node, "converted_type") {
                context
                    .report
                    .error(node.span, "`action: convert` needs a `converted_type`")
                    .help("write `converted_type: string`, `int` or `double`");
            }
            written.converted_type.map(|to| EditAction::Convert { key, to: converted_type(to) })
        }
    }
}

fn converted_type(to: TypeName) -> ConvertedType {
    match to {
        TypeName::String => ConvertedType::Text,
        TypeName::Int => ConvertedType::Int,
        TypeName::Double => ConvertedType::Double,
    }
}

/// The source of the value that an action writes, and the source of the default for an absent attribute. `None` if both are missing or
/// one has a mistake, which has been reported.
fn sources(
    written: &AttributeAction,
    node: &Node,
    templates: &mut Vec<Template>,
    context: &mut Context<'_>,
) -> Option<(Option<ValueSource>, Option<ValueSource>)> {
    let from_attribute = written.from_attribute.clone().filter(|name| !name.is_empty());
    let source = match (&written.value, from_attribute) {
        (Some(_), Some(_)) => {
            let at = node.entry("from_attribute").map_or(node.span, |entry| entry.key_span);
            context
                .report
                .error(at, "an action has a `value` or a `from_attribute`, not both")
                .help("keep one of the two");
            return None;
        }
        (Some(value), None) => Some(self::value(value, node.near(&["value"]), templates, context)?),
        (None, Some(name)) => Some(ValueSource::Attribute(name)),
        (None, None) => None,
    };
    let default = match &written.default_value {
        Some(value) => Some(self::value(value, node.near(&["default_value"]), templates, context)?),
        None => None,
    };
    if source.is_none() && default.is_none() {
        if !REST.iter().any(|key| context.is_excused(node, key)) {
            context
                .report
                .error(node.span, "the action has no value")
                .help("write `value: …`, or `from_attribute: NAME`");
        }
        return None;
    }
    Some((source, default))
}

fn value(
    written: &WrittenValue,
    node: &Node,
    templates: &mut Vec<Template>,
    context: &mut Context<'_>,
) -> Option<ValueSource> {
    match written {
        WrittenValue::One(text) => {
            let template = match Template::parse_around(text, node.literal()) {
                Ok(template) => template,
                Err(error) => {
                    report_template(&error, node, context);
                    return None;
                }
            };
            if template.as_text().is_some() {
                return Some(ValueSource::Value(typed(node)));
            }
            templates.push(template);
            Some(ValueSource::Text(templates.len() - 1))
        }
        WrittenValue::List(texts) => {
            let items: Vec<&Node> = (0..texts.len()).map_while(|index| node.item(index)).collect();
            for (item, text) in items.iter().zip(texts) {
                let is_template = Template::parse_around(text, item.literal())
                    .map_or(true, |template| template.as_text().is_none());
                if is_template {
                    context
                        .report
                        .error(item.span, "a list can't hold a template")
                        .help("write the template as the value alone, which makes a text of it");
                    return None;
                }
            }
            let values: Vec<NewValue> = items.into_iter().map(typed).collect();
            Some(ValueSource::Value(NewValue::list(&values)))
        }
    }
}
