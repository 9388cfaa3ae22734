//! The resource of what Sluice tells of itself.

use opentelemetry_proto::tonic::resource::v1::Resource;
use percent_encoding::percent_decode_str;

use super::{InstanceId, attribute, text};

/// The resource of the process with this `service.instance.id`. As OpenTelemetry's specification has it, attributes of
/// `OTEL_RESOURCE_ATTRIBUTES` win over Sluice's own, and `OTEL_SERVICE_NAME` over both; the instance is always Sluice's own, since it is
/// what own telemetry is known by. `env` looks up a variable.
pub fn resource(instance_id: &InstanceId, env: &dyn Fn(&str) -> Option<String>) -> Resource {
    let mut attributes: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: &str| {
        attributes.retain(|(known, _)| known != key);
        attributes.push((key.to_owned(), value.to_owned()));
    };
    set("service.name", "sluice");
    set("service.version", env!("CARGO_PKG_VERSION"));
    let given = env("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    for (key, value) in given.split(',').filter_map(|pair| pair.split_once('=')) {
        let key = key.trim();
        if !key.is_empty() {
            set(key, &percent_decode_str(value.trim()).decode_utf8_lossy());
        }
    }
    if let Some(name) = env("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
        set("service.name", &name);
    }
    set("service.instance.id", instance_id.published());
    let attributes = attributes.into_iter().map(|(key, value)| attribute(key, text(value)));
    Resource { attributes: attributes.collect(), ..Resource::default() }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;

    fn attributes(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let env = |asked: &str| {
            let found = variables.iter().find(|(name, _)| *name == asked);
            found.map(|(_, value)| (*value).to_owned())
        };
        let instance = InstanceId::random();
        let pairs = resource(&instance, &env).attributes.into_iter().map(|pair| {
            match pair.value.and_then(|value| value.value) {
                Some(Value::StringValue(text)) if text == instance.published() => {
                    (pair.key, "one".to_owned())
                }
                Some(Value::StringValue(text)) => (pair.key, text),
                other => panic!("{other:?}"),
            }
        });
        pairs.collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_environment_adds_attributes_and_wins_but_for_the_instance() {
        let version = env!("CARGO_PKG_VERSION");
        let own = [("service.name", "sluice"), ("service.version", version), ("service.instance.id", "one")];
        assert_eq!(attributes(&[]), pairs(&own));
        let given = "service.name=a, deployment.environment.name=prod%2Ceu ,service.instance.id=x,wrong,=y";
        let expected = [
            ("service.version", version),
            ("deployment.environment.name", "prod,eu"),
            ("service.name", "edge"),
            ("service.instance.id", "one"),
        ];
        let variables = [("OTEL_RESOURCE_ATTRIBUTES", given), ("OTEL_SERVICE_NAME", "edge")];
        assert_eq!(attributes(&variables), pairs(&expected));
    }
}
