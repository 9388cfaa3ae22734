//! What a routing key has to be for the upstream to take it, where not every text will do. An upstream may drop without a word
//! what has another one.

use regex::Regex;

use super::TargetError;
use crate::route::Values;

/// What a routing key has to match.
#[derive(Clone, Debug)]
pub struct ValidKey {
    regex: Regex,
    /// In words; empty if there are none.
    description: String,
}

impl ValidKey {
    /// `regex` matches the whole of a valid key.
    ///
    /// # Errors
    ///
    /// What is wrong with the regular expression.
    pub fn new(regex: &str, description: &str) -> Result<Self, regex::Error> {
        // It is looked at by itself first: with what is put around it, what is none might be one.
        Regex::new(regex)?;
        let regex = Regex::new(&format!(r"\A(?:{regex})\z"))?;
        Ok(Self { regex, description: description.to_owned() })
    }

    /// Whether the key among these values is valid.
    pub(super) fn check(&self, values: &impl Values) -> Result<(), TargetError> {
        let Some(key) = values.key().map(|key| key.text()).filter(|key| !self.regex.is_match(key)) else {
            return Ok(());
        };
        Err(TargetError::Key { key: key.into_owned(), description: self.description.clone() })
    }
}

impl PartialEq for ValidKey {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str() && self.description == other.description
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::RoutingKey;
    use otlp::Signal;

    struct Key(RoutingKey);

    impl Values for Key {
        fn key(&self) -> Option<&RoutingKey> {
            Some(&self.0)
        }

        fn signal(&self) -> Signal {
            Signal::Logs
        }
    }

    fn checked(rule: &ValidKey, key: &str) -> Option<String> {
        rule.check(&Key(RoutingKey::written(key))).err().map(|error| error.to_string())
    }

    #[test]
    fn a_key_is_valid_if_all_of_it_matches() {
        let rule = ValidKey::new("a|bc", "a or bc").unwrap();
        assert_eq!((checked(&rule, "a"), checked(&rule, "bc")), (None, None));
        for key in ["ab", "abc", "bca", "xa", "a\n", ""] {
            let expected = format!("the upstream does not take the key `{key}`: a or bc");
            assert_eq!(checked(&rule, key), Some(expected), "{key:?}");
        }
        let wordless = ValidKey::new("a", "").unwrap();
        assert_eq!(checked(&wordless, "b").unwrap(), "the upstream does not take the key `b`");
    }

    #[test]
    fn what_is_no_regular_expression_by_itself_is_none() {
        assert!(ValidKey::new("a)|(b", "").is_err());
    }
}
