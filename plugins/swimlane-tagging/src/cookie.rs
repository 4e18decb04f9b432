//! The sticky cookie, as `set-cookie` writes it (RFC 6265, section 4.1).

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::is_token;

use crate::config::{SameSite, StickyCookie};

/// A checked cookie: what comes before and after its value.
#[derive(Debug)]
pub struct Cookie {
    name: String,
    attributes: String,
}

impl Cookie {
    /// Checks the attributes.
    pub fn compile(config: &StickyCookie) -> Result<Self, ConfigError> {
        let wrong = |text: &str, what: &str| Err(ConfigError::new(format!("{} {what}", quoted(text))));
        if !is_token(config.name.as_bytes()) {
            return wrong(&config.name, "is not the name of a cookie").at("name");
        }
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
        if !config.path.starts_with('/') || !plain(&config.path) {
            return wrong(&config.path, "is not a path: it starts with '/' and has no ';' or space")
                .at("path");
        }
        if !plain(&config.domain) || config.domain.contains([':', '/', '*']) {
            return wrong(&config.domain, "is not a domain such as example.com").at("domain");
        }
        let max_age = config.max_age.0.as_secs();
        if max_age == 0 {
            return Err(ConfigError::new("must be one second at least")).at("maxAge");
        }
        if config.same_site == SameSite::None && !config.secure {
            return Err(ConfigError::new("browsers drop a cookie of None that is not secure")).at("sameSite");
        }
        let mut attributes = format!("; Max-Age={max_age}; Path={}", config.path);
        if !config.domain.is_empty() {
            attributes.push_str("; Domain=");
            attributes.push_str(&config.domain);
        }
        attributes.push_str(match config.same_site {
            SameSite::Lax => "; SameSite=Lax",
            SameSite::Strict => "; SameSite=Strict",
            SameSite::None => "; SameSite=None",
        });
        for (flag, text) in [(config.secure, "; Secure"), (config.http_only, "; HttpOnly")] {
            if flag {
                attributes.push_str(text);
            }
        }
        Ok(Self { name: config.name.clone(), attributes })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of `set-cookie`.
    pub fn set(&self, id: &str) -> String {
        [&self.name, "=", id, &self.attributes].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_is_written() {
        let cookie = |config| Cookie::compile(&config).unwrap().set("1");
        assert_eq!(
            cookie(StickyCookie::default()),
            "swim_uid=1; Max-Age=2592000; Path=/; SameSite=Lax; Secure; HttpOnly"
        );
        assert_eq!(
            cookie(StickyCookie {
                domain: "example.com".into(),
                same_site: SameSite::Strict,
                secure: false,
                http_only: false,
                ..StickyCookie::default()
            }),
            "swim_uid=1; Max-Age=2592000; Path=/; Domain=example.com; SameSite=Strict"
        );
    }
}
