//! What a client that is turned away is told (RFC 6750, section 3). Nothing of its token or its URL is in it.

use plugin_kit::config::{At, ConfigError};
use plugin_kit::json;
use plugin_kit::reply::Reply;

use crate::config::{self, ErrorFormat};
use crate::reject::Reject;

/// How clients are told.
#[derive(Clone, Debug)]
pub struct Errors {
    format: ErrorFormat,
    realm: String,
}

/// Why a request is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub reject: Reject,
    /// The HTTP status.
    pub status: u16,
    /// The scopes that would have been needed.
    pub scope: Option<String>,
    /// Of the provider that came furthest, for logs.
    pub provider: Option<String>,
}

impl Denial {
    /// A denial for which no provider is to be named.
    #[must_use]
    pub const fn new(reject: Reject) -> Self {
        Self { reject, status: reject.status(), scope: None, provider: None }
    }
}

impl Errors {
    /// Compiles `errors`.
    ///
    /// # Errors
    /// Where the realm cannot stand in a quoted string.
    pub fn compile(errors: &config::Errors) -> Result<Self, ConfigError> {
        let quotable = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if !errors.realm.bytes().all(quotable) {
            return Err(ConfigError::new("must be of printable ASCII without quotes and backslashes"))
                .at("realm");
        }
        Ok(Self { format: errors.format, realm: errors.realm.clone() })
    }

    /// The reply.
    pub fn reply(&self, denial: &Denial, is_grpc: bool) -> Reply {
        let Denial { reject, status, .. } = denial;
        let mut reply =
            Reply::new(*status).details(format!("jwt_authn_access_denied{{{}}}", reject.as_str()));
        if let Some(challenge) = self.challenge(denial) {
            reply = reply.header("www-authenticate", challenge);
        }
        if is_grpc {
            return reply.grpc_status(grpc_status(*status)).body(reject.description());
        }
        match self.format {
            ErrorFormat::Json => {
                let mut body = String::from("{\"error\":");
                json::write_string(reject.error().unwrap_or(without_error(*reject)), &mut body);
                body.push_str(",\"error_description\":");
                json::write_string(reject.description(), &mut body);
                body.push('}');
                reply.header("content-type", "application/json").body(body)
            }
            ErrorFormat::Text => reply.header("content-type", "text/plain").body(reject.description()),
            ErrorFormat::None => reply,
        }
    }

    fn challenge(&self, denial: &Denial) -> Option<String> {
        if denial.status == 503 {
            return None;
        }
        let mut challenge = format!("Bearer realm=\"{}\"", self.realm);
        if let Some(error) = denial.reject.error() {
            let description = denial.reject.description();
            challenge.push_str(&format!(", error=\"{error}\", error_description=\"{description}\""));
        }
        if let Some(scope) = &denial.scope {
            challenge.push_str(&format!(", scope=\"{scope}\""));
        }
        Some(challenge)
    }
}

/// The body's error code where the challenge has none.
const fn without_error(reject: Reject) -> &'static str {
    match reject {
        Reject::JwksUnavailable => "temporarily_unavailable",
        _ => "unauthorized",
    }
}

/// `UNAUTHENTICATED`, `PERMISSION_DENIED`, `UNAVAILABLE`, `INVALID_ARGUMENT`.
const fn grpc_status(status: u16) -> u8 {
    match status {
        401 => 16,
        403 => 7,
        503 => 14,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(denial: &Denial) -> Option<String> {
        Errors { format: ErrorFormat::Json, realm: "api".into() }.challenge(denial)
    }

    #[test]
    fn the_challenge_is_that_of_rfc_6750() {
        for (reject, expected) in [
            (Reject::Missing, Some("Bearer realm=\"api\"")),
            (
                Reject::Expired,
                Some(
                    "Bearer realm=\"api\", error=\"invalid_token\", error_description=\"the token has expired\"",
                ),
            ),
            (
                Reject::Multiple,
                Some(
                    "Bearer realm=\"api\", error=\"invalid_request\", error_description=\"more than one token was sent\"",
                ),
            ),
            (Reject::JwksUnavailable, None),
        ] {
            assert_eq!(challenge(&Denial::new(reject)).as_deref(), expected, "{reject:?}");
        }
        let scope = Denial { scope: Some("a b".into()), ..Denial::new(Reject::Scope) };
        assert_eq!(
            challenge(&scope).unwrap(),
            "Bearer realm=\"api\", error=\"insufficient_scope\", \
             error_description=\"the scope of the token does not allow this\", scope=\"a b\""
        );
    }

    #[test]
    fn a_realm_stays_in_its_quotes() {
        for realm in ["a\"b", "a\\b", "a\nb", "é"] {
            let errors = config::Errors { format: ErrorFormat::None, realm: realm.into() };
            assert!(Errors::compile(&errors).is_err(), "{realm}");
        }
    }
}
