//! The two directions, and why a message of one is refused.

use plugin_kit::body::{self, Body};
use plugin_kit::headers::{Headers, REQUEST, RESPONSE};
use plugin_kit::hostcalls::Bytes;
use plugin_kit::property;

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From the client.
    Request,
    /// To the client.
    Response,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Its body is not JSON.
    NotJson,
    /// Its body is too large.
    TooLarge,
    /// An operation cannot be applied to its body.
    PatchFailed,
    /// Its body has trailers.
    Trailers,
    /// Its body cannot be transformed.
    Unsupported,
    /// Its body took too long to arrive.
    Timeout,
    /// Its body had to make room for others.
    Exhausted,
    /// A header that describes its body could not be removed.
    Headers,
}

impl Reject {
    /// For `%RESPONSE_CODE_DETAILS%` and log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "json_transform_not_json",
            Self::TooLarge => "json_transform_too_large",
            Self::PatchFailed => "json_transform_patch_failed",
            Self::Trailers => "json_transform_trailers",
            Self::Unsupported => "json_transform_unsupported",
            Self::Timeout => "json_transform_body_timeout",
            Self::Exhausted => "json_transform_buffer_exhausted",
            Self::Headers => "json_transform_header_not_removed",
        }
    }

    /// The status that the client gets.
    pub const fn status(self, side: Side) -> u16 {
        match (side, self) {
            (Side::Response, _) => 502,
            (_, Self::NotJson | Self::Trailers) => 400,
            (_, Self::Timeout) => 408,
            (_, Self::TooLarge) => 413,
            (_, Self::Unsupported) => 415,
            (_, Self::PatchFailed) => 422,
            (_, Self::Headers) => 500,
            (_, Self::Exhausted) => 503,
        }
    }
}

impl Side {
    /// Its header map.
    pub const fn headers(self) -> Headers {
        match self {
            Self::Request => REQUEST,
            Self::Response => RESPONSE,
        }
    }

    /// All lines of a header, joined by commas.
    pub fn lines(self, name: &str) -> Option<Bytes> {
        let message = match self {
            Self::Request => "request",
            Self::Response => "response",
        };
        property::get(&[message, "headers", name])
    }

    /// Its body.
    pub const fn body(self) -> Body {
        match self {
            Self::Request => body::REQUEST,
            Self::Response => body::RESPONSE,
        }
    }

    /// The headers that say how long the body is, or what is in it.
    pub fn body_headers(self) -> impl Iterator<Item = &'static str> {
        const BOTH: [&str; 5] = ["content-length", "content-md5", "digest", "content-digest", "repr-digest"];
        let more: &[&str] = match self {
            Self::Request => &[],
            Self::Response => &["etag", "accept-ranges"],
        };
        BOTH.into_iter().chain(more.iter().copied())
    }
}
