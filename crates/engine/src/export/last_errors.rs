//! How attempts of an exporter went wrong lately, for people.

use parking_lot::Mutex;

use crate::stream::{LastError, StreamName};

/// Errors that are kept: the newest, of which no two have the same code.
const KEPT: usize = 20;

/// The newest errors of one exporter, one of each code.
#[derive(Debug, Default)]
pub struct LastErrors(Mutex<Vec<LastError>>);

impl LastErrors {
    /// Notes what went wrong with a stream of this name.
    pub(super) fn note(&self, name: &StreamName, error: &LastError) {
        let mut newest_first = self.0.lock();
        newest_first.retain(|known| known.code != error.code);
        newest_first.truncate(KEPT - 1);
        newest_first.insert(0, LastError { of_stream: Some(name.clone()), ..error.clone() });
    }

    /// All of them, the newest first, each with the stream that it is of.
    pub fn all(&self) -> Vec<LastError> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::route::RoutingKey;
    use otlp::Signal;

    #[test]
    fn of_each_code_the_newest_is_kept_and_the_newest_codes() {
        let errors = LastErrors::default();
        let note = |code: usize, message: &str| {
            let name = StreamName { signal: Signal::Logs, key: RoutingKey::written(message) };
            let error = LastError {
                code: code.to_string().into(),
                message: message.into(),
                target: None,
                at: SystemTime::now(),
                of_destination: true,
                of_stream: None,
            };
            errors.note(&name, &error);
        };
        let shown = || -> Vec<String> {
            errors.all().iter().map(|error| format!("{} {}", error.code, error.message)).collect()
        };
        note(1, "a");
        note(2, "b");
        note(1, "c");
        assert_eq!(shown(), ["1 c", "2 b"]);
        let stream = errors.all()[0].of_stream.clone().unwrap();
        assert_eq!(stream.key.to_string(), "c");
        for code in 3..=KEPT + 2 {
            note(code, "d");
        }
        let shown = shown();
        assert_eq!((shown.len(), &*shown[0], &*shown[KEPT - 1]), (KEPT, "22 d", "3 d"));
    }
}
