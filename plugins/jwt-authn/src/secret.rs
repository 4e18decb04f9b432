//! Shared secrets: where they come from and how they are written.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use plugin_kit::config::{At, ConfigError};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};

/// A shared secret, or a list: the current one, then those before it.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// None is an error of [`Provider::compile`](crate::verify::Provider::compile).
    pub list: Vec<Secret>,
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Vec<Secret>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a secret or a list of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, secret: A) -> Result<Vec<Secret>, A::Error> {
                Ok(vec![Secret::deserialize(MapAccessDeserializer::new(secret))?])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Secret>, A::Error> {
                let mut secrets = Vec::new();
                while let Some(secret) = items.next_element()? {
                    secrets.push(secret);
                }
                Ok(secrets)
            }
        }

        Ok(Self { list: deserializer.deserialize_any(OneOrMany)? })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Secrets {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secrets".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<Secret>();
        schemars::json_schema!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
    }
}

/// A shared secret.
#[derive(Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    /// The name of an environment variable (`vmConfig.env`), which keeps the secret out of `pluginConfig`.
    pub from_env: Option<String>,
    /// The secret itself; everyone who can read the configuration can sign tokens.
    pub value: Option<String>,
    /// How it is written. Default `utf8`.
    #[serde(default)]
    pub encoding: Encoding,
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Encoding {
    /// Its bytes as they are.
    #[default]
    Utf8,
    /// base64, with or without padding.
    Base64,
    /// base64url, with or without padding.
    Base64url,
    /// Hexadecimal digits.
    Hex,
}

impl Secret {
    /// The bytes. No error shows anything that was written here, not even the name of the variable: a secret may stand
    /// there by mistake.
    ///
    /// # Errors
    /// Where there is no secret, or it is not written as it says.
    pub fn read(&self) -> Result<Vec<u8>, ConfigError> {
        match (&self.from_env, &self.value) {
            (Some(name), None) => {
                let value = std::env::var(name)
                    .map_err(|_| ConfigError::new("names a variable that vmConfig.env does not have"));
                self.decode(&value.at("fromEnv")?).at("fromEnv")
            }
            (None, Some(value)) => self.decode(value).at("value"),
            _ => Err(ConfigError::new("needs exactly one of fromEnv, value")),
        }
    }

    fn decode(&self, text: &str) -> Result<Vec<u8>, ConfigError> {
        const LENIENT: GeneralPurposeConfig =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let decoded = match self.encoding {
            Encoding::Utf8 => return Ok(text.as_bytes().to_vec()),
            Encoding::Base64 => GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(text).ok(),
            Encoding::Base64url => GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT).decode(text).ok(),
            Encoding::Hex => hex(text.as_bytes()),
        };
        decoded.ok_or_else(|| ConfigError::new("is not written in its encoding"))
    }
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.chunks_exact(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(encoding: Encoding, value: &str) -> Option<Vec<u8>> {
        Secret { from_env: None, value: Some(value.into()), encoding }.read().ok()
    }

    #[test]
    fn reads_the_encodings() {
        assert_eq!(read(Encoding::Utf8, "é?").as_deref(), Some("é?".as_bytes()));
        for text in ["+/8=", "+/8"] {
            assert_eq!(read(Encoding::Base64, text).as_deref(), Some(&[0xfb, 0xff][..]));
        }
        assert_eq!(read(Encoding::Base64url, "-_8").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(read(Encoding::Hex, "fBFf").as_deref(), Some(&[0xfb, 0xff][..]));
        for (encoding, text) in [(Encoding::Base64, "-_8"), (Encoding::Hex, "f"), (Encoding::Hex, "fg")] {
            assert_eq!(read(encoding, text), None, "{text}");
        }
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let secret = Secret { from_env: None, value: Some("hunter2?".into()), encoding: Encoding::Hex };
        assert_eq!(secret.read().unwrap_err().to_string(), "value: is not written in its encoding");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
