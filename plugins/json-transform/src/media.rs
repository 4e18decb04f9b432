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

/// The media type of a `content-type`, in lower case and without parameters; `None` where the body is nothing that may
/// be changed: a stream, gRPC, or text that is not UTF-8.
pub fn essence(content_type: &[u8]) -> Option<Vec<u8>> {
    let lower = content_type.to_ascii_lowercase();
    let mut parameters = lower.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let essence = parameters.next()?;
    let is_utf8 = parameters.filter_map(|parameter| parameter.strip_prefix(b"charset=")).all(|charset| {
        let charset =
            charset.strip_prefix(b"\"").and_then(|charset| charset.strip_suffix(b"\"")).unwrap_or(charset);
        [&b"utf-8"[..], b"utf8", b"us-ascii"].contains(&charset)
    });
    let is_left_alone = STREAMS.contains(&essence) || essence.starts_with(b"application/grpc");
    (is_utf8 && !is_left_alone).then(|| essence.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(patterns: Option<&[&str]>, content_type: &str) -> bool {
        let patterns: Option<Vec<String>> =
            patterns.map(|patterns| patterns.iter().map(|&pattern| pattern.to_owned()).collect());
        let types = MediaTypes::compile(patterns.as_deref()).unwrap();
        essence(content_type.as_bytes()).is_some_and(|essence| types.has(&essence))
    }

    #[test]
    fn json_is_what_says_so() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; Charset=\"UTF-8\"", true),
            ("application/problem+json", true),
            ("application/json;charset=iso-8859-1", false),
            ("application/json; charset=utf-16", false),
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
    fn a_mistake_is_pointed_at() {
        for text in ["json", "*/*", "application/json; charset=utf-8", ""] {
            let failed = MediaTypes::compile(Some(&[text.to_owned()])).unwrap_err().to_string();
            assert_eq!(failed, format!("[0]: \"{text}\" is not a media type such as application/*+json"));
        }
    }
}
