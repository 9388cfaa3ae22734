//! Numbers of things, in words.

/// `1 error`, `2 errors`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_thing_is_not_counted_as_several() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "record")), ["0 records", "1 record", "2 records"]);
    }
}
