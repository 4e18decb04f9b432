//! The key of a cached response: a digest of all that the service gets, so that different calls share no response.

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Key = [u8; 32];

/// Computes keys.
#[derive(Debug)]
pub struct Keys {
    seed: Key,
}

/// The parts of a key so far. Each is preceded by its length, so different lists of parts are different bytes.
#[derive(Debug)]
pub struct Parts(Sha256);

impl Keys {
    /// Keys of this configuration. Another configuration has other keys.
    #[must_use]
    pub fn new(configuration: &[u8]) -> Self {
        Self { seed: Sha256::digest(configuration).into() }
    }

    /// A key without parts.
    #[must_use]
    pub fn start(&self) -> Parts {
        Parts(Sha256::new_with_prefix(self.seed))
    }

    /// The key of these parts.
    #[must_use]
    pub fn finish(parts: Parts) -> Key {
        parts.0.finalize().into()
    }
}

impl Parts {
    /// Adds a part. An absent one differs from an empty one.
    pub fn part(&mut self, part: Option<&[u8]>) {
        self.lines(part.as_slice());
    }

    /// Adds a part of several lines.
    pub fn lines(&mut self, lines: &[impl AsRef<[u8]>]) {
        self.number(lines.len());
        for line in lines {
            self.number(line.as_ref().len());
            self.0.update(line);
        }
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(configuration: &str, parts: &[&[&str]]) -> Key {
        let keys = Keys::new(configuration.as_bytes());
        let mut key = keys.start();
        for lines in parts {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            key.lines(&lines);
        }
        Keys::finish(key)
    }

    #[test]
    fn different_lists_of_parts_have_different_keys() {
        let keys = [
            key("", &[]),
            key("", &[&[]]),
            key("", &[&[""]]),
            key("", &[&["", ""]]),
            key("", &[&[""], &[""]]),
            key("", &[&["ab"], &["c"]]),
            key("", &[&["a"], &["bc"]]),
            key("", &[&["a", "bc"]]),
            key("", &[&["abc"]]),
            key("{}", &[&["abc"]]),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(keys.iter().skip(index + 1).all(|other| one != other), "{index}");
        }
    }

    #[test]
    fn an_absent_part_differs_from_an_empty_one() {
        let keys = Keys::new(b"");
        let of = |part| {
            let mut key = keys.start();
            key.part(part);
            Keys::finish(key)
        };
        assert_ne!(of(None), of(Some(b"")));
        assert_eq!(of(Some(b"a")), key("", &[&["a"]]));
    }
}
