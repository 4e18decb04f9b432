//! What the upstream is told: claims and payload as headers.

use std::borrow::Cow;

use plugin_kit::claims::{join, survives_trimming};
use plugin_kit::config::{At, ConfigError};
use plugin_kit::headers::HeaderName;
use plugin_kit::json::Json;

use crate::config::{self, ArrayFormat};

/// Of one header.
const MAX_BYTES: usize = 8192;

/// The headers that a provider's tokens fill.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    claims: Vec<(HeaderName, Vec<String>, ArrayFormat)>,
    payload: Option<(HeaderName, bool)>,
}

/// A claim as the steps to it; dots nest.
#[must_use]
pub fn claim_path(claim: &str) -> Vec<String> {
    claim.split('.').map(str::to_owned).collect()
}

/// The steps that a configuration means: exactly one of `claim` and `claimPath`.
///
/// # Errors
/// Where there are none, or both are given.
pub fn compile_path(claim: &Option<String>, path: &Option<Vec<String>>) -> Result<Vec<String>, ConfigError> {
    match (claim, path) {
        (Some(claim), None) if !claim.is_empty() => Ok(claim_path(claim)),
        (None, Some(path)) if !path.is_empty() => Ok(path.clone()),
        _ => Err(ConfigError::new("needs exactly one of claim, claimPath, and that not empty")),
    }
}

impl Outputs {
    /// Compiles the outputs of a provider.
    ///
    /// # Errors
    /// Points at the output.
    pub fn compile(provider: &config::Provider) -> Result<Self, ConfigError> {
        const FIELD: &str = "outputClaimToHeaders";
        let mut outputs = Self::default();
        if let Some(name) = &provider.output_payload_to_header {
            let name = HeaderName::writable(name).at("outputPayloadToHeader")?;
            outputs.payload = Some((name, provider.payload_padding));
        }
        for (index, output) in provider.output_claim_to_headers.iter().enumerate() {
            let name = HeaderName::writable(&output.header).at("header").at_index(index).at(FIELD)?;
            if outputs.names().any(|known| *known == name) {
                return Err(ConfigError::new("is an output already")).at("header").at_index(index).at(FIELD);
            }
            let path = compile_path(&output.claim, &output.claim_path).at_index(index).at(FIELD)?;
            outputs.claims.push((name, path, output.array_format));
        }
        Ok(outputs)
    }

    /// Every header that it may fill.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.claims.iter().map(|(name, ..)| name).chain(self.payload.iter().map(|(name, _)| name))
    }

    /// The headers of a token; a claim that cannot be written is not there.
    #[must_use]
    pub fn of(&self, claims: &Json, payload_text: &[u8]) -> Vec<(HeaderName, Vec<u8>)> {
        let mut headers = Vec::new();
        for (name, path, format) in &self.claims {
            if let Some(value) = claims.find(path).and_then(|claim| text(claim, *format))
                && is_writable(&value)
            {
                headers.push((name.clone(), value.into_bytes()));
            }
        }
        if let Some((name, padded)) = &self.payload {
            let mut value = payload_text.to_vec();
            while *padded && !value.len().is_multiple_of(4) {
                value.push(b'=');
            }
            headers.push((name.clone(), value));
        }
        headers
    }
}

/// Whether every reader of the header reads the same value: it has no control characters, and no white space at its ends,
/// which HTTP cuts off.
fn is_writable(value: &str) -> bool {
    survives_trimming(value) && value.len() <= MAX_BYTES && !value.bytes().any(|byte| byte.is_ascii_control())
}

fn text(claim: &Json, format: ArrayFormat) -> Option<String> {
    match (claim, format) {
        (Json::List(items), ArrayFormat::Csv) => {
            join(&mut items.iter().map(|item| item.scalar().map(Cow::Borrowed)))
        }
        (Json::List(_) | Json::Map(_), _) => Some(claim.to_json()),
        _ => claim.scalar().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_kit::json;

    fn written(claim: &str, format: ArrayFormat) -> Option<String> {
        let claims = json::parse(format!("{{\"c\":{claim}}}").as_bytes(), 8).unwrap();
        let name = HeaderName::writable("x-c").unwrap();
        let outputs = Outputs { claims: vec![(name, claim_path("c"), format)], payload: None };
        outputs.of(&claims, b"").pop().map(|(_, value)| String::from_utf8(value).unwrap())
    }

    #[test]
    fn claims_are_written_as_they_are() {
        for (claim, value) in [
            (r#""alice""#, Some("alice")),
            (r#""阳明""#, Some("阳明")),
            ("12345678901234567890123", Some("12345678901234567890123")),
            ("1.50", Some("1.50")),
            ("1e2", Some("1e2")),
            ("true", Some("true")),
            ("null", None),
            (r#""""#, None),
            (r#"["a",1,true]"#, Some("a,1,true")),
            (r#"["a,admin"]"#, None),
            (r#"[["a"]]"#, None),
            ("[]", None),
            (r#"{"a":[1]}"#, Some(r#"{"a":[1]}"#)),
        ] {
            assert_eq!(written(claim, ArrayFormat::Csv).as_deref(), value, "{claim}");
        }
        for (claim, value) in [
            (r#"["a,b", {"c":null}]"#, r#"["a,b",{"c":null}]"#),
            ("[]", "[]"),
            (r#"["\n"]"#, "[\"\\u000a\"]"),
        ] {
            assert_eq!(written(claim, ArrayFormat::Json).as_deref(), Some(value), "{claim}");
        }
    }

    #[test]
    fn a_claim_with_a_control_byte_or_without_end_is_not_written() {
        for claim in [r#""a\r\nx-admin: 1""#, r#""a\u0000""#, r#""\t""#, r#""a\u007f""#, r#"["a","b\n"]"#] {
            assert_eq!(written(claim, ArrayFormat::Csv), None, "{claim}");
        }
        assert!(written(&format!("\"{}\"", "a".repeat(8192)), ArrayFormat::Csv).is_some());
        assert_eq!(written(&format!("\"{}\"", "a".repeat(8193)), ArrayFormat::Csv), None);
    }

    #[test]
    fn the_payload_is_padded_on_demand() {
        for (padded, value) in [(false, "e30"), (true, "e30=")] {
            let outputs =
                Outputs { claims: vec![], payload: Some((HeaderName::writable("x-p").unwrap(), padded)) };
            assert_eq!(outputs.of(&Json::Null, b"e30")[0].1, value.as_bytes());
        }
    }
}
