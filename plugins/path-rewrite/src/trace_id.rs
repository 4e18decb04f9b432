//! The trace id: kept where the client's is valid, made anew where it is not.

use plugin_kit::config::{At, ConfigError};
use plugin_kit::headers::HeaderName;

use crate::config::{Generate, TraceId};

/// The longest id that is kept, in bytes.
const MAX_BYTES: usize = 128;

/// A compiled [`TraceId`].
#[derive(Clone, Debug)]
pub struct TraceIds {
    /// The header, on the request and on the response.
    pub header: HeaderName,
    /// Whether the response carries it too.
    pub echo: bool,
    generate: Generate,
}

/// What is done with the request's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// The client's id stays.
    Kept(Vec<u8>),
    /// This id replaces whatever was there.
    Made(Vec<u8>),
    /// What was there is removed.
    Removed,
    /// There is nothing, and nothing is made.
    Absent,
}

impl TraceIds {
    /// Checks the header's name.
    pub fn compile(config: &TraceId) -> Result<Self, ConfigError> {
        let header = HeaderName::writable(&config.header).at("header")?;
        Ok(Self { header, echo: config.echo, generate: config.generate })
    }

    /// Decides about all lines of the header, joined by commas; `make` makes an id, and may fail.
    pub fn decide(&self, sent: Option<&[u8]>, make: impl FnOnce(Generate) -> Option<String>) -> Traced {
        match sent {
            Some(id) if is_valid(id) => Traced::Kept(id.to_vec()),
            sent => match make(self.generate) {
                Some(id) => Traced::Made(id.into_bytes()),
                None if sent.is_some() => Traced::Removed,
                None => Traced::Absent,
            },
        }
    }
}

/// Whether an id can be trusted in logs and headers.
fn is_valid(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(sent: Option<&[u8]>, generate: Generate) -> Traced {
        let config = TraceId { header: "X-Trace-Id".into(), generate, echo: true };
        let make = |generate| (generate == Generate::Uuid).then(|| "new".to_owned());
        TraceIds::compile(&config).unwrap().decide(sent, make)
    }

    #[test]
    fn a_valid_id_is_kept() {
        for id in [&b"abc"[..], b"4bf92f3577b34da6a3ce929d0e0e4736", b"A-b_c.d:e/f+g=", &[b'a'; 128]] {
            assert_eq!(decide(Some(id), Generate::Uuid), Traced::Kept(id.to_vec()));
        }
    }

    #[test]
    fn an_invalid_id_is_replaced_or_removed() {
        for id in [&b""[..], b"a b", b"a,b", b"a,a", b"\xff", b"a\"", &[b'a'; 129]] {
            assert_eq!(decide(Some(id), Generate::Uuid), Traced::Made(b"new".to_vec()));
            assert_eq!(decide(Some(id), Generate::None), Traced::Removed);
        }
        assert_eq!(decide(None, Generate::Uuid), Traced::Made(b"new".to_vec()));
        assert_eq!(decide(None, Generate::None), Traced::Absent);
    }
}
