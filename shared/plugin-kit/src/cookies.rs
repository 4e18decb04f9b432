//! Cookies of a request (RFC 6265, section 5.4), on bytes.

/// The cookies of one `cookie` line, in order: name and value, white space and the quotes around a value removed.
/// A piece without `=` is no cookie.
pub fn cookies(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|&byte| byte == b';').filter_map(|piece| {
        let at = piece.iter().position(|&byte| byte == b'=')?;
        let (name, value) = piece.split_at_checked(at)?;
        let value = value.get(1..)?.trim_ascii();
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some((name.trim_ascii(), quoted.unwrap_or(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_browsers_and_others_send() {
        let line = b" a=1; b=\"two\";c=x=y ; token; =empty; d=;e=\xff; a=2";
        let found: Vec<(&[u8], &[u8])> = cookies(line).collect();
        let expected: [(&[u8], &[u8]); 7] = [
            (b"a", b"1"),
            (b"b", b"two"),
            (b"c", b"x=y"),
            (b"", b"empty"),
            (b"d", b""),
            (b"e", b"\xff"),
            (b"a", b"2"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_lone_quote_is_part_of_the_value() {
        assert_eq!(cookies(b"a=\"").collect::<Vec<_>>(), [(&b"a"[..], &b"\""[..])]);
    }
}
