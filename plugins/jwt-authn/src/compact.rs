//! A JWS in compact form (RFC 7515, section 7.1), taken apart strictly and before anything in it is believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plugin_kit::json::{self, Json};

use crate::claims::Claims;
use crate::reject::Reject;

/// Of the decoded header.
const MAX_HEADER: usize = 4096;
/// Of a key id.
const MAX_KID: usize = 1024;

/// The parts of a token, and its signature.
#[derive(Clone, Debug)]
pub struct Compact<'a> {
    /// The header in base64url.
    header: &'a [u8],
    /// The payload in base64url.
    pub payload: &'a [u8],
    /// Header and payload as they are signed.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
}

/// What is in a token that is well formed. Nothing of it has been verified.
#[derive(Clone, Debug)]
pub struct Token {
    /// The header.
    pub header: Header,
    /// The payload as claims.
    pub claims: Claims,
    /// The payload as JSON.
    pub payload: Vec<u8>,
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
pub fn split(token: &[u8], max_bytes: usize) -> Result<Compact<'_>, Reject> {
    if token.len() > max_bytes {
        return Err(Reject::TooLarge);
    }
    let (header, rest) = at_dot(token)?;
    let (payload, signature) = at_dot(rest)?;
    let signed = token.len().saturating_sub(signature.len()).saturating_sub(1);
    // A third dot is no base64url.
    let signature = decode(signature)?;
    Ok(Compact { header, payload, signed: token.get(..signed).unwrap_or_default(), signature })
}

fn at_dot(text: &[u8]) -> Result<(&[u8], &[u8]), Reject> {
    let dot = text.iter().position(|&byte| byte == b'.').ok_or(Reject::Malformed)?;
    let (before, rest) = text.split_at_checked(dot).ok_or(Reject::Malformed)?;
    Ok((before, rest.get(1..).unwrap_or_default()))
}

impl Compact<'_> {
    /// Header and claims.
    ///
    /// # Errors
    /// [`Reject::TooLarge`] and [`Reject::Malformed`].
    pub fn read(&self, max_depth: usize) -> Result<Token, Reject> {
        let header = decode(self.header)?;
        if header.len() > MAX_HEADER {
            return Err(Reject::TooLarge);
        }
        let header = Header::read(&header, max_depth)?;
        let payload = decode(self.payload)?;
        let claims = Claims::read(json::parse(&payload, max_depth).map_err(|_| Reject::Malformed)?)?;
        Ok(Token { header, claims, payload })
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
            Some(Json::String(text)) => Ok(Some(text.clone())),
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

    fn read(token: &[u8], max_bytes: usize) -> Result<Token, Reject> {
        split(token, max_bytes)?.read(8)
    }

    fn with_header(header: &str) -> Option<Reject> {
        read(format!("{}.{}.AA", encode(header), encode("{}")).as_bytes(), 16_384).err()
    }

    #[test]
    fn takes_a_token_apart() {
        let header = r#"{"alg":"RS256","kid":"k","typ":"application/AT+JWT","jku":"https://evil","x5c":["a"],"jwk":{}}"#;
        let text = format!("{}.{}.AQI", encode(header), encode("{}"));
        let parts = split(text.as_bytes(), 16_384).unwrap();
        let token = parts.read(8).unwrap();
        assert_eq!(token.header.alg, "RS256");
        assert_eq!(token.header.kid.as_deref(), Some("k"));
        assert_eq!(token.header.token_type(), "at+jwt");
        assert_eq!((token.payload.as_slice(), parts.signature.as_slice()), (&b"{}"[..], &[1, 2][..]));
        assert_eq!(parts.signed, text.rsplit_once('.').unwrap().0.as_bytes());
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
            assert_eq!(read(token.as_bytes(), 16_384).err(), Some(Reject::Malformed), "{token}");
        }
    }

    #[test]
    fn base64url_is_strict() {
        let (header, payload) = (encode(r#"{"alg":"RS256"}"#), encode("{}"));
        assert!(read(format!("{header}.{payload}.AA").as_bytes(), 16_384).is_ok());
        for signature in ["AA=", "AA==", "A", "AB", "A A", "AA\n", "+/AA", "A\u{e9}", "AAAA=", "\0AAA"] {
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(read(token.as_bytes(), 16_384).err(), Some(Reject::Malformed), "{signature}");
        }
        let token = [header.as_bytes(), b".", payload.as_bytes(), b".\xff\xfe"].concat();
        assert_eq!(read(&token, 16_384).err(), Some(Reject::Malformed));
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
        assert_eq!(read(&[b'a'; 101], 100).err(), Some(Reject::TooLarge));
        assert_eq!(
            with_header(&format!(r#"{{"alg":"RS256","x":{}}}"#, "[".repeat(1000))),
            Some(Reject::Malformed)
        );
    }
}
