//! Lists of header names, exact or with a `*` at the end: `set-cookie`, `x-auth-*`.

use plugin_kit::config::{At, ConfigError};
use plugin_kit::headers::HeaderName;
use plugin_kit::hostcalls::Bytes;
use plugin_kit::pairs::Pairs;

/// Tells the upstream that a request passed although the service made no decision, as Envoy's `ext_authz` does.
pub const PASSED_WITHOUT_DECISION: &str = "x-envoy-auth-failure-mode-allowed";

/// Header lines: names in lower case, and values.
pub type Lines = Vec<(String, Bytes)>;

/// Names and prefixes of names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    exact: Vec<HeaderName>,
    beginnings: Vec<HeaderName>,
}

impl Names {
    /// Compiles a list.
    ///
    /// # Errors
    /// If one is not the name of a header, or the name of one that frames the message.
    pub fn compile<S: AsRef<str>>(names: &[S]) -> Result<Self, ConfigError> {
        let mut compiled = Self::default();
        for (index, name) in names.iter().enumerate() {
            let name = name.as_ref();
            // `*` is valid in a token, so the part before it is checked.
            match name.strip_suffix('*') {
                Some(beginning) => compiled.beginnings.push(HeaderName::new(beginning).at_index(index)?),
                None => compiled.exact.push(HeaderName::writable(name).at_index(index)?),
            }
        }
        Ok(compiled)
    }

    /// Whether the list has this name. It never has one of a header that frames the message.
    #[must_use]
    pub fn contain(&self, name: &str) -> bool {
        self.exact.iter().any(|exact| exact.as_str() == name)
            || self.beginnings.iter().any(|beginning| name.starts_with(beginning.as_str()))
                && HeaderName::writable(name).is_ok()
    }

    /// The lines of headers in the list, in order, with names in lower case. Values with a line end are left out.
    #[must_use]
    pub fn choose(&self, lines: &Pairs) -> Lines {
        let chosen = lines.iter().filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
            let is_meant = self.contain(&name) && plugin_kit::headers::is_clean(value);
            is_meant.then(|| (name, value.to_vec()))
        });
        chosen.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_exactly_or_by_its_prefix() {
        let names = Names::compile(&["Set-Cookie", "x-auth-*", "te*"]).unwrap();
        for (name, meant) in [
            ("set-cookie", true),
            ("set-cookie2", false),
            ("x-auth-user", true),
            ("x-auth-", true),
            ("x-auth", false),
            ("te", false),
            ("text", true),
            (":status", false),
        ] {
            assert_eq!(names.contain(name), meant, "{name}");
        }
    }

    #[test]
    fn a_value_with_a_line_end_is_not_chosen() {
        let answer: [(&str, &[u8]); 4] =
            [("X-A", b"1"), ("x-b", b"1"), ("x-a", b"2"), ("x-a", b"3\r\nx-admin: 1")];
        let chosen = Names::compile(&["x-a"]).unwrap().choose(&Pairs::new(answer.into_iter()));
        assert_eq!(chosen, [("x-a".to_owned(), b"1".to_vec()), ("x-a".to_owned(), b"2".to_vec())]);
    }

    #[test]
    fn names_of_headers_that_frame_a_message_are_rejected() {
        for (name, message) in [
            ("content-length", "[0]: \"content-length\" must not be written by a rule"),
            ("*", "[0]: \"\" is not the name of a header"),
            (":path", "[0]: \":path\" is not the name of a header"),
        ] {
            assert_eq!(Names::compile(&[name]).unwrap_err().to_string(), message);
        }
    }
}
