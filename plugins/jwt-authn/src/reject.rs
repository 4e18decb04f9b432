//! Why a request is not let through: a closed list, the label in metrics and logs.

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// There is no token.
    Missing,
    /// Not a JWS in compact form with a JSON object in it, or one with a parameter that must be understood and is not.
    Malformed,
    /// The algorithm is not one of the provider's, or not one of the key's.
    Alg,
    /// No provider of the rule has this issuer.
    Issuer,
    /// None of the provider's audiences.
    Audience,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// The provider's key set has no such key.
    UnknownKid,
    /// The signature is another one's.
    Signature,
    /// A claim that the provider wants in every token is missing, or `exp` is too far from `iat`.
    RequiredClaim,
    /// The rule wants other claims.
    Claims,
    /// The rule wants other scopes.
    Scope,
    /// More than one token.
    Multiple,
    /// A token beyond `limits.tokenBytes`.
    TooLarge,
    /// The provider's keys have not been fetched, or are too old.
    JwksUnavailable,
    /// Not a type of token that the provider takes.
    Type,
    /// Path, authority or method read differently to different servers.
    Ambiguous,
}

/// Every label, once.
pub const REASONS: [&str; 16] = [
    "missing",
    "malformed",
    "alg",
    "issuer",
    "audience",
    "expired",
    "not_yet_valid",
    "unknown_kid",
    "signature",
    "claims",
    "scope",
    "multiple",
    "too_large",
    "jwks_unavailable",
    "type",
    "ambiguous",
];

impl Reject {
    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Alg => "alg",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownKid => "unknown_kid",
            Self::Signature => "signature",
            Self::RequiredClaim | Self::Claims => "claims",
            Self::Scope => "scope",
            Self::Multiple => "multiple",
            Self::TooLarge => "too_large",
            Self::JwksUnavailable => "jwks_unavailable",
            Self::Type => "type",
            Self::Ambiguous => "ambiguous",
        }
    }

    /// What the client is told. It never has anything of the token in it.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Missing => "a token is required",
            Self::Malformed => "the token is malformed",
            Self::Alg => "the algorithm of the token is not allowed",
            Self::Issuer => "the issuer of the token is not accepted",
            Self::Audience => "the token is meant for another audience",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::UnknownKid => "the key of the token is unknown",
            Self::Signature => "the signature of the token is invalid",
            Self::RequiredClaim => "the token lacks a required claim",
            Self::Claims => "the claims of the token do not allow this",
            Self::Scope => "the scope of the token does not allow this",
            Self::Multiple => "more than one token was sent",
            Self::TooLarge => "the token is too large",
            Self::JwksUnavailable => "the keys to check the token with are not available",
            Self::Type => "the type of the token is not accepted",
            Self::Ambiguous => {
                "the request is ambiguous: servers may read its path, host or method differently"
            }
        }
    }

    /// The HTTP status, but for keys that are not there: the provider says what that is.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Multiple | Self::Ambiguous => 400,
            Self::Claims | Self::Scope => 403,
            Self::JwksUnavailable => 503,
            _ => 401,
        }
    }

    /// The error code of RFC 6750, section 3.1; none where the request had nothing wrong in it.
    #[must_use]
    pub const fn error(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::JwksUnavailable => None,
            Self::Multiple | Self::Ambiguous => Some("invalid_request"),
            Self::Claims | Self::Scope => Some("insufficient_scope"),
            _ => Some("invalid_token"),
        }
    }

    /// How far the check came: of several providers, the one that came furthest tells why.
    #[must_use]
    pub const fn progress(self) -> u8 {
        match self {
            Self::Missing | Self::Multiple | Self::TooLarge | Self::Malformed | Self::Ambiguous => 0,
            Self::Issuer => 1,
            Self::Alg => 2,
            Self::Type => 3,
            Self::Audience => 4,
            Self::RequiredClaim => 5,
            Self::Expired | Self::NotYetValid => 6,
            Self::UnknownKid => 7,
            Self::Signature => 8,
            Self::Claims | Self::Scope => 9,
            // It may well have been a good token.
            Self::JwksUnavailable => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Reject; 17] = [
        Reject::Missing,
        Reject::Malformed,
        Reject::Alg,
        Reject::Issuer,
        Reject::Audience,
        Reject::Expired,
        Reject::NotYetValid,
        Reject::UnknownKid,
        Reject::Signature,
        Reject::RequiredClaim,
        Reject::Claims,
        Reject::Scope,
        Reject::Multiple,
        Reject::TooLarge,
        Reject::JwksUnavailable,
        Reject::Type,
        Reject::Ambiguous,
    ];

    #[test]
    fn every_reason_has_a_label_of_the_closed_list() {
        for reject in ALL {
            assert!(REASONS.contains(&reject.as_str()), "{reject:?}");
        }
        for reason in REASONS {
            assert!(ALL.iter().any(|reject| reject.as_str() == reason), "{reason}");
        }
    }

    #[test]
    fn status_and_error_go_together() {
        for reject in ALL {
            let expected = match reject.error() {
                Some("invalid_request") => 400,
                Some("insufficient_scope") => 403,
                Some(_) => 401,
                None if reject == Reject::JwksUnavailable => 503,
                None => 401,
            };
            assert_eq!(reject.status(), expected, "{reject:?}");
        }
    }
}
