//! What an answer is filed under: a digest of all that the service was told, so that no two questions share an answer.

use sha2::{Digest, Sha256};

/// A digest.
pub type Key = [u8; 32];

/// How keys are made.
#[derive(Debug)]
pub struct Keys {
    seed: Key,
}

/// A key in the making. Every part is preceded by its length, so no two lists of parts are the same text.
#[derive(Debug)]
pub struct Parts(Sha256);

impl Keys {
    /// Keys of this configuration: under another one nothing is found that was filed under this.
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
    /// One more part, which may be absent: that is not the same as empty.
    pub fn part(&mut self, part: Option<&[u8]>) {
        self.lines(part.as_slice());
    }

    /// One more part of some lines.
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
    fn no_two_lists_of_parts_have_one_key() {
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
    fn an_absent_part_is_not_an_empty_one() {
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
