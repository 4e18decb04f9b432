//! A JWS in compact form (RFC 7515, section 7.1), taken apart strictly and before anything in it is believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::claims::Claims;
use crate::json::{self, Json};
use crate::reject::Reject;

/// Of the decoded header.
const MAX_HEADER: usize = 4096;
/// Of a key id.
const MAX_KID: usize = 1024;

/// A token that is well formed. Nothing in it has been verified.
#[derive(Clone, Debug)]
pub struct Compact<'a> {
    /// Header and payload as they are signed.
    pub signed: &'a [u8],
    /// The header.
    pub header: Header,
    /// The payload in base64url.
    pub payload_text: &'a [u8],
    /// The payload.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// The parameters of a header that count. Those that name or carry keys (`jku`, `jwk`, `x5u`, `x5c`) do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The algorithm as it is written.
    pub alg: String,
    /// Which key.
    pub kid: Option<String>,
    /// What kind of token.
    pub typ: Option<String>,
}

/// Takes a token apart.
///
/// # Errors
/// [`Reject::TooLarge`] and [`Reject::Malformed`].
pub fn split(token: &[u8], max_bytes: usize, max_depth: usize) -> Result<Compact<'_>, Reject> {
    if token.len() > max_bytes {
        return Err(Reject::TooLarge);
    }
    let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
    let (Some(_), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
        return Err(Reject::Malformed);
    };
    let mut parts = token.split(|&byte| byte == b'.');
    let (Some(header), Some(payload_text), Some(signature)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Reject::Malformed);
    };
    let header = decode(header)?;
    if header.len() > MAX_HEADER {
        return Err(Reject::TooLarge);
    }
    Ok(Compact {
        signed: token.get(..second).unwrap_or_default(),
        header: Header::read(&header, max_depth)?,
        payload_text,
        payload: decode(payload_text)?,
        signature: decode(signature)?,
    })
}

impl Compact<'_> {
    /// The payload as claims.
    ///
    /// # Errors
    /// [`Reject::Malformed`].
    pub fn claims(&self, max_depth: usize) -> Result<Claims, Reject> {
        Claims::read(json::parse(&self.payload, max_depth).map_err(|_| Reject::Malformed)?)
    }
}

/// base64url without padding, white space and left-over bits (RFC 7515, appendix C); never empty.
fn decode(part: &[u8]) -> Result<Vec<u8>, Reject> {
    if part.is_empty() {
        return Err(Reject::Malformed);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Reject::Malformed)
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// [`Reject::Malformed`], also for a parameter that must be understood and is not: `crit` whatever is in it,
    /// `b64: false`, and what belongs to an encrypted token.
    pub fn read(header: &[u8], max_depth: usize) -> Result<Self, Reject> {
        let header = json::parse(header, max_depth).map_err(|_| Reject::Malformed)?;
        if !matches!(header, Json::Map(_)) {
            return Err(Reject::Malformed);
        }
        let refused = ["crit", "zip", "enc"].iter().any(|name| header.member(name).is_some());
        if refused || header.member("b64").is_some_and(|b64| *b64 != Json::Bool(true)) {
            return Err(Reject::Malformed);
        }
        let text = |name: &str| match header.member(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Reject::Malformed),
        };
        let kid = text("kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(Reject::Malformed);
        }
        Ok(Self { alg: text("alg")?.ok_or(Reject::Malformed)?, kid, typ: text("typ")? })
    }

    /// The type of the token as it is compared: lower case, without `application/` (RFC 7515, section 4.1.9).
    #[must_use]
    pub fn token_type(&self) -> String {
        normalized_type(self.typ.as_deref().unwrap_or_default())
    }
}

/// See [`Header::token_type`].
#[must_use]
pub fn normalized_type(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    lower.strip_prefix("application/").unwrap_or(&lower).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn with_header(header: &str) -> Option<Reject> {
        split(format!("{}.{}.AA", encode(header), encode("{}")).as_bytes(), 16_384, 8).err()
    }

    #[test]
    fn takes_a_token_apart() {
        let header = r#"{"alg":"RS256","kid":"k","typ":"application/AT+JWT","jku":"https://evil","x5c":["a"],"jwk":{}}"#;
        let text = format!("{}.{}.AQI", encode(header), encode("{}"));
        let token = split(text.as_bytes(), 16_384, 8).unwrap();
        assert_eq!(token.header.alg, "RS256");
        assert_eq!(token.header.kid.as_deref(), Some("k"));
        assert_eq!(token.header.token_type(), "at+jwt");
        assert_eq!((token.payload.as_slice(), token.signature.as_slice()), (&b"{}"[..], &[1, 2][..]));
        assert_eq!(token.signed, text.rsplit_once('.').unwrap().0.as_bytes());
    }

    #[test]
    fn exactly_three_parts_none_of_them_empty() {
        let (header, payload) = (encode(r#"{"alg":"RS256"}"#), encode("{}"));
        for token in [
            String::new(),
            ".".into(),
            "..".into(),
            "...".into(),
            header.clone(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{header}..AA"),
            format!(".{payload}.AA"),
            format!("{header}.{payload}.AA."),
            format!(".{header}.{payload}.AA"),
            format!("{header}.{payload}.AA.AA.AA"),
            format!("{header}..{payload}..AA"),
            ".".repeat(10_000),
        ] {
            assert_eq!(split(token.as_bytes(), 16_384, 8).err(), Some(Reject::Malformed), "{token}");
        }
    }

    #[test]
    fn base64url_is_strict() {
        let (header, payload) = (encode(r#"{"alg":"RS256"}"#), encode("{}"));
        assert!(split(format!("{header}.{payload}.AA").as_bytes(), 16_384, 8).is_ok());
        for signature in ["AA=", "AA==", "A", "AB", "A A", "AA\n", "+/AA", "A\u{e9}", "AAAA=", "\0AAA"] {
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(split(token.as_bytes(), 16_384, 8).err(), Some(Reject::Malformed), "{signature}");
        }
        let token = [header.as_bytes(), b".", payload.as_bytes(), b".\xff\xfe"].concat();
        assert_eq!(split(&token, 16_384, 8).err(), Some(Reject::Malformed));
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_refused() {
        for header in [
            r#"{"alg":"RS256","crit":["foo"],"foo":1}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","crit":null}"#,
            r#"{"alg":"RS256","crit":["alg"]}"#,
            r#"{"alg":"RS256","crit":["b64"],"b64":true}"#,
            r#"{"alg":"RS256","b64":false}"#,
            r#"{"alg":"RS256","b64":"true"}"#,
            r#"{"alg":"RS256","zip":"DEF"}"#,
            r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#,
        ] {
            assert_eq!(with_header(header), Some(Reject::Malformed), "{header}");
        }
        assert_eq!(with_header(r#"{"alg":"RS256","b64":true}"#), None);
    }

    #[test]
    fn a_header_is_an_object_with_an_alg_and_nothing_twice() {
        for header in [
            "[]",
            "{}",
            "\"alg\"",
            r#"{"alg":1}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","alg":"HS256"}"#,
            r#"{"alg":"RS256","\u0061lg":"HS256"}"#,
            r#"{"alg":"RS256","x":{"y":1,"y":2}}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","typ":{}}"#,
            r#"{"alg":"RS256",}"#,
            r#"{'alg':'RS256'}"#,
        ] {
            assert_eq!(with_header(header), Some(Reject::Malformed), "{header}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let long =
            |name: &str, length: usize| format!(r#"{{"alg":"RS256","{name}":"{}"}}"#, "a".repeat(length));
        assert_eq!(with_header(&long("kid", 1024)), None);
        assert_eq!(with_header(&long("kid", 1025)), Some(Reject::Malformed));
        assert_eq!(with_header(&long("x", 4096)), Some(Reject::TooLarge));
        assert_eq!(split(&[b'a'; 101], 100, 8).err(), Some(Reject::TooLarge));
        assert_eq!(
            with_header(&format!(r#"{{"alg":"RS256","x":{}}}"#, "[".repeat(1000))),
            Some(Reject::Malformed)
        );
    }
}
