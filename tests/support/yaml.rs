//! Configurations that many scenarios share. Options are written as in a flow mapping: `timeout: 1s, headers: {…}`.

/// Retries that a test can wait for.
pub const QUICK: &str = "retry_on_failure: { initial_interval: 5ms, max_interval: 20ms }";

/// Every request is a batch of its own, so that what an upstream sees can be told beforehand.
pub const SINGLY: &str = "sending_queue: { batch: { min_size: 1, flush_timeout: 0s } }";

/// Where dead letters go: `letters` below the test's directory.
pub const LETTERS: &str = "dead_letter: { directory: '@DIR@/letters' }\n";

/// `exporters:` with these, each a name and its options.
pub fn exporters(all: &[(&str, String)]) -> String {
    let lines: Vec<String> =
        all.iter().map(|(name, options)| format!("  {name}: {{ {options} }}\n")).collect();
    format!("exporters:\n{}", lines.concat())
}

/// The options of an exporter to this URL, with more of them.
pub fn to(url: &str, options: &[&str]) -> String {
    let mut all = vec![format!("endpoint: '{url}', compression: none")];
    all.extend(options.iter().map(|option| (*option).to_owned()));
    all.join(", ")
}

/// `routes:` with one that makes a stream of every value of `s2.stream`, to these exporters.
pub fn by_stream(exporters: &str) -> String {
    format!("routes:\n  - {{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [{exporters}] }}\n")
}

/// One exporter, `otlp_http/up`, that gets a stream for every value of `s2.stream`.
pub fn up(url: &str, options: &[&str]) -> String {
    exporters(&[("otlp_http/up", to(url, options))]) + &by_stream("otlp_http/up")
}
