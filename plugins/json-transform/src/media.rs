//! Which bodies are JSON, by what their headers say.

use plugin_kit::config::{At, ConfigError, quoted};

/// Compiled media types.
#[derive(Clone, Debug)]
pub struct MediaTypes(Vec<Pattern>);

#[derive(Clone, Debug)]
enum Pattern {
    Exact(Vec<u8>),
    /// What is before and behind the `*`.
    Around(Vec<u8>, Vec<u8>),
}

/// Streams of many documents: waiting for their end would hold them for ever.
const STREAMS: [&[u8]; 5] = [
    b"text/event-stream",
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/json-seq",
    b"application/stream+json",
];

impl MediaTypes {
    /// Compiles the media types, `application/json` and `*+json` where there are none.
    ///
    /// # Errors
    /// Where one has no `/` and no `*`, or more than one `*`.
    pub fn compile(patterns: Option<&[String]>) -> Result<Self, ConfigError> {
        let Some(patterns) = patterns else {
            return Ok(Self(vec![
                Pattern::Exact(b"application/json".to_vec()),
                Pattern::Around(Vec::new(), b"+json".to_vec()),
            ]));
        };
        if patterns.is_empty() {
            return Err(ConfigError::new("is empty and would mean nothing; leave it out to mean JSON"));
        }
        let compile = |(index, text): (usize, &String)| Pattern::new(text).at_index(index);
        patterns.iter().enumerate().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a `content-type` is one of them.
    pub fn has(&self, essence: &[u8]) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Exact(text) => *text == essence,
            Pattern::Around(before, behind) => {
                essence.strip_prefix(before.as_slice()).is_some_and(|rest| rest.ends_with(behind))
            }
        })
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, ConfigError> {
        let wrong =
            || ConfigError::new(format!("{} is not a media type such as application/*+json", quoted(text)));
        let lower = text.to_ascii_lowercase();
        if lower.bytes().any(|byte| matches!(byte, b';' | b' ')) {
            return Err(wrong());
        }
        match lower.split_once('*') {
            None if lower.contains('/') => Ok(Self::Exact(lower.into_bytes())),
            Some((before, behind)) if !behind.contains('*') => Ok(Self::Around(before.into(), behind.into())),
            _ => Err(wrong()),
        }
    }
}

/// The media type of a body, in lower case and without parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// A body of this type may be transformed.
    Document(Vec<u8>),
    /// A body of this type cannot: it is a stream, gRPC, or text that is not UTF-8.
    Opaque(Vec<u8>),
    /// There is none, or there are several.
    Unknown,
}

impl MediaType {
    /// Reads a `content-type`; several lines are joined by commas.
    pub fn new(content_type: Option<&[u8]>) -> Self {
        let lower = content_type.unwrap_or_default().to_ascii_lowercase();
        let mut parameters = lower.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let essence = parameters.next().unwrap_or_default().to_vec();
        if essence.is_empty() || essence.contains(&b',') {
            return Self::Unknown;
        }
        let is_opaque = STREAMS.contains(&essence.as_slice()) || essence.starts_with(b"application/grpc");
        if is_opaque || !parameters.all(is_utf8) { Self::Opaque(essence) } else { Self::Document(essence) }
    }
}

/// Whether a parameter leaves a body in UTF-8: any but another `charset`.
fn is_utf8(parameter: &[u8]) -> bool {
    let Some(rest) = parameter.strip_prefix(b"charset") else { return true };
    let Some(charset) = rest.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii) else {
        return false;
    };
    let bare = charset.strip_prefix(b"\"").and_then(|charset| charset.strip_suffix(b"\""));
    [&b"utf-8"[..], b"utf8", b"us-ascii"].contains(&bare.unwrap_or(charset))
}

/// Whether a body with these content codings is as it was: a list of none but `identity`.
pub fn is_identity(content_encoding: &[u8]) -> bool {
    content_encoding
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

/// Whether a `cache-control` forbids to transform the body (RFC 9111, section 5.2.2.6).
pub fn forbids_transforming(cache_control: &[u8]) -> bool {
    let mut directives = cache_control.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(patterns: Option<&[&str]>, content_type: &str) -> bool {
        let patterns: Option<Vec<String>> =
            patterns.map(|patterns| patterns.iter().map(|&pattern| pattern.to_owned()).collect());
        let types = MediaTypes::compile(patterns.as_deref()).unwrap();
        match MediaType::new(Some(content_type.as_bytes())) {
            MediaType::Document(essence) => types.has(&essence),
            MediaType::Opaque(_) | MediaType::Unknown => false,
        }
    }

    #[test]
    fn json_is_what_says_so() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; Charset=\"UTF-8\"", true),
            ("application/problem+json", true),
            ("application/json;charset=iso-8859-1", false),
            ("application/json; charset=utf-16", false),
            ("application/json; charset = utf-16", false),
            ("application/json; charset=utf-8; charset=latin1", false),
            ("application/json; charset=\"utf-8", false),
            ("application/json; charset*=utf-16''", false),
            ("application/json; charset", false),
            ("application/json; charset = \"UTF-8\";", true),
            ("application/json; profile=\"a,b\"; q", true),
            ("application/json, application/json", false),
            ("application/json, text/plain", false),
            ("text/json", false),
            ("text/plain", false),
            ("application/jsonp", false),
            ("text/event-stream", false),
            ("application/stream+json", false),
            ("application/grpc+json", false),
            ("application/grpc-web+json", false),
            ("application/json\u{ff}", false),
            ("", false),
        ] {
            assert_eq!(has(None, content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn other_types_can_be_named() {
        assert!(has(Some(&["text/JSON"]), "text/json"));
        assert!(has(Some(&["application/vnd.*"]), "application/vnd.acme.v1"));
        assert!(!has(Some(&["application/vnd.*+json"]), "application/json"));
        assert!(!has(Some(&["a/b*b"]), "a/b"), "what is before and what is behind do not overlap");
        assert!(!has(Some(&["*"]), "text/event-stream"));
    }

    #[test]
    fn without_one_media_type_it_is_unknown() {
        for content_type in
            [None, Some(""), Some(" "), Some(";charset=utf-8"), Some("a/b,c/d"), Some("a/b, a/b; q")]
        {
            let media_type = MediaType::new(content_type.map(str::as_bytes));
            assert_eq!(media_type, MediaType::Unknown, "{content_type:?}");
        }
        for (content_type, essence) in [
            ("application/json; charset=latin1", "application/json"),
            ("Text/Event-Stream", "text/event-stream"),
        ] {
            let media_type = MediaType::new(Some(content_type.as_bytes()));
            assert_eq!(media_type, MediaType::Opaque(essence.into()), "{content_type}");
        }
    }

    #[test]
    fn identity_is_no_coding() {
        for codings in ["", "identity", "Identity", " identity , ,IDENTITY", ","] {
            assert!(is_identity(codings.as_bytes()), "{codings}");
        }
        for codings in ["gzip", "identity, gzip", "gzip,identity", "x", "identity;q=1"] {
            assert!(!is_identity(codings.as_bytes()), "{codings}");
        }
    }

    #[test]
    fn no_transform_is_one_of_several_directives() {
        for (value, expected) in [
            ("no-transform", true),
            ("max-age=1, No-Transform", true),
            ("no-transformation", false),
            ("", false),
        ] {
            assert_eq!(forbids_transforming(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        for text in ["json", "*/*", "application/json; charset=utf-8", ""] {
            let failed = MediaTypes::compile(Some(&[text.to_owned()])).unwrap_err().to_string();
            assert_eq!(failed, format!("[0]: \"{text}\" is not a media type such as application/*+json"));
        }
    }
}
