//! Highlight's backend behind its Collector: OTLP by HTTP and gRPC, a project for each record by the attribute that counts
//! most, and success for what it drops.

use super::{Delivery, ExportedRecord, Refusal, Rules, StandIn, Taken};

/// The largest body, in bytes.
const LARGEST_BODY: usize = 20 << 20;

/// What a project is named by, the later counting more.
const KEYS: [&str; 3] = ["highlight_project_id", "x-highlight-project", "highlight.project_id"];

/// Highlight.
pub struct Highlight {
    /// The ids of the projects that there are.
    projects: Vec<String>,
}

impl Highlight {
    /// Starts with these projects.
    pub async fn start(projects: &[&str]) -> StandIn<Self> {
        let projects = projects.iter().map(|project| (*project).to_owned()).collect();
        StandIn::start(Self { projects }).await
    }
}

/// The project that a record is of: the attribute nearest to it, of the key that counts most.
fn project(record: &ExportedRecord, header: &str) -> Option<String> {
    if !header.is_empty() {
        return Some(header.to_owned());
    }
    KEYS.iter().rev().find_map(|key| record.attribute(key)).filter(|project| !project.is_empty())
}

/// A number of 32 bits, or a short id of small letters and digits.
fn is_id(project: &str) -> bool {
    let is_short = (1..=16).contains(&project.len())
        && project.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    match project.parse::<i32>() {
        Ok(number) => number > 0,
        Err(_) => is_short && project.bytes().any(|byte| byte.is_ascii_lowercase()),
    }
}

impl Rules for Highlight {
    fn judge(&self, request: &Delivery, taken: &mut Taken) -> Result<(), Refusal> {
        if request.exported.size() > LARGEST_BODY {
            return Err(Refusal::new(413, "a body has at most 20 MiB"));
        }
        for record in request.exported.records() {
            let project = project(record, request.header("x-highlight-project"));
            match project.filter(|project| is_id(project) && self.projects.contains(project)) {
                Some(project) => taken.add(&project, request.signal, record.text.clone()),
                // It is skipped without a word.
                None => taken.dropped.push(record.text.clone()),
            }
        }
        Ok(())
    }
}
