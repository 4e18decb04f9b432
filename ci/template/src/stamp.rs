//! What the plugin decides, without a word about proxies.

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::{is_clean, is_token};

/// A header that is known to be writable.
#[derive(Debug)]
pub struct Stamp {
    header: String,
    value: String,
}

impl Stamp {
    /// Checks what can be wrong before the first request comes.
    pub fn compile(header: String, value: String) -> Result<Self, ConfigError> {
        if !is_token(header.as_bytes()) {
            return Err(ConfigError::new(format!("{} is not the name of a header", quoted(&header))))
                .at("header");
        }
        if !is_clean(value.as_bytes()) {
            return Err(ConfigError::new("must not contain control characters")).at("value");
        }
        Ok(Self { header: header.to_ascii_lowercase(), value })
    }

    pub fn header(&self) -> &str {
        &self.header
    }

    pub fn value(&self) -> &[u8] {
        self.value.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_field_that_is_wrong() {
        for (header, value, error) in [
            ("x y", "1", "header: \"x y\" is not the name of a header"),
            (":path", "1", "header: \":path\" is not the name of a header"),
            ("x-a", "1\r\n", "value: must not contain control characters"),
        ] {
            assert_eq!(Stamp::compile(header.into(), value.into()).unwrap_err().to_string(), error);
        }
    }
}
