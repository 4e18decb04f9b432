//! A header map as the proxy serializes it, read where it lies.

use crate::hostcalls::Bytes;

/// Every line of a header map: one block of bytes, however many lines there are.
///
/// The count, then a pair of sizes for each line, then names and values with a NUL after each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Bytes);

impl Pairs {
    /// What the proxy wrote. Lines that lie outside of it are left out.
    #[must_use]
    pub fn of_raw(raw: Bytes) -> Self {
        Self(raw)
    }

    /// Writes these lines.
    #[must_use]
    pub fn new<'a>(lines: impl Iterator<Item = (&'a str, &'a [u8])> + Clone) -> Self {
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
        let mut raw = Bytes::new();
        raw.extend(number(lines.clone().count()));
        for (name, value) in lines.clone() {
            raw.extend(number(name.len()));
            raw.extend(number(value.len()));
        }
        for (name, value) in lines {
            raw.extend(name.as_bytes());
            raw.push(0);
            raw.extend(value);
            raw.push(0);
        }
        Self(raw)
    }

    /// As the proxy reads it.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// The lines, in order: names in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let count = number(&self.0, 0).unwrap_or_default();
        let mut sizes = 4_usize;
        let data = count.checked_mul(8).and_then(|sizes| sizes.checked_add(4));
        let mut rest = data.and_then(|data| self.0.get(data..)).unwrap_or_default();
        std::iter::from_fn(move || {
            if sizes >= count.checked_mul(8)?.checked_add(4)? {
                return None;
            }
            let name = take(&mut rest, number(&self.0, sizes)?)?;
            let value = take(&mut rest, number(&self.0, sizes.checked_add(4)?)?)?;
            sizes = sizes.checked_add(8)?;
            Some((name, value))
        })
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

fn number(raw: &[u8], at: usize) -> Option<usize> {
    let bytes = raw.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

/// Takes so many bytes, and the NUL after them.
fn take<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(size)?;
    *rest = after.get(1..)?;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let lines: [(&str, &[u8]); 3] = [(":path", b"/"), ("x-a", b""), ("x-a", b"\xff\0")];
        let pairs = Pairs::new(lines.iter().copied());
        let expected: Vec<(&[u8], &[u8])> =
            lines.iter().map(|(name, value)| (name.as_bytes(), *value)).collect();
        assert_eq!(pairs.iter().collect::<Vec<_>>(), expected);
        assert_eq!(Pairs::of_raw(pairs.raw().to_vec()), pairs);
    }

    #[test]
    fn what_is_no_map_has_no_lines() {
        for raw in [
            &b""[..],
            b"\x01",
            b"\x02\0\0\0",
            b"\xff\xff\xff\xff",
            b"\x01\0\0\0\xff\xff\xff\xff\0\0\0\0a\0\0",
        ] {
            assert!(Pairs::of_raw(raw.to_vec()).is_empty(), "{raw:?}");
        }
    }
}
