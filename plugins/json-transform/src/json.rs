//! The grammar of JSON (RFC 8259): where a value ends, what is in a container, what a string says.
//!
//! Nothing is decoded that nobody asks for: values stay the bytes that they are, so a number of any length, an escape
//! or a lone surrogate is written again as it was read.

use std::borrow::Cow;

/// How deep a text may nest, and how deep an operation may make it.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Not UTF-8.
    Encoding,
    /// Not JSON.
    Syntax,
    /// Nested deeper than [`MAX_DEPTH`].
    Depth,
}

impl Flaw {
    /// For log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encoding => "not UTF-8",
            Self::Syntax => "not JSON",
            Self::Depth => "nested too deep",
        }
    }
}

/// The one value that a text is, without what is around it: white space, and a byte order mark (section 8.1).
pub fn check(text: &[u8]) -> Result<&[u8], Flaw> {
    std::str::from_utf8(text).map_err(|_| Flaw::Encoding)?;
    let mut cursor = Cursor(text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text));
    cursor.space();
    let value = cursor.value(MAX_DEPTH)?;
    cursor.space();
    if cursor.0.is_empty() { Ok(value) } else { Err(Flaw::Syntax) }
}

/// Whether a value nests at most `depth` deep.
pub fn is_within(text: &[u8], depth: usize) -> bool {
    Cursor(text).value(depth).is_ok()
}

/// The items of an array; `None` for anything else.
pub fn items(text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut items = Vec::new();
    if !text.starts_with(b"[") {
        return None;
    }
    Cursor(text).array(MAX_DEPTH, &mut |item| items.push(item)).ok()?;
    Some(items)
}

/// The members of an object, each name still in its quotes; `None` for anything else.
pub fn members(text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut members = Vec::new();
    if !text.starts_with(b"{") {
        return None;
    }
    Cursor(text).object(MAX_DEPTH, &mut |name, value| members.push((name, value))).ok()?;
    Some(members)
}

/// What a string in its quotes says; `None` for anything else, and for a lone surrogate, which no text has.
pub fn decode(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let mut rest = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !rest.contains(&b'\\') {
        return std::str::from_utf8(rest).ok().map(Cow::Borrowed);
    }
    let mut text = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        let (&escape, behind) = rest.split_first()?;
        rest = behind;
        text.push(match escape {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                text.extend_from_slice(unicode(&mut rest)?.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => other,
        });
    }
    String::from_utf8(text).ok().map(Cow::Owned)
}

fn unicode(rest: &mut &[u8]) -> Option<char> {
    let high = hex4(rest)?;
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high.into());
    }
    *rest = rest.strip_prefix(b"\\u")?;
    char::decode_utf16([high, hex4(rest)?]).next()?.ok()
}

fn hex4(rest: &mut &[u8]) -> Option<u16> {
    let (digits, behind) = rest.split_at_checked(4)?;
    *rest = behind;
    let digit =
        |value: u16, &digit: &u8| Some(value << 4 | u16::try_from(char::from(digit).to_digit(16)?).ok()?);
    digits.iter().try_fold(0, digit)
}

/// Appends a string in its quotes.
pub fn encode(text: &str, json: &mut Vec<u8>) {
    json.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => json.extend([b'\\', byte]),
            b'\n' => json.extend(b"\\n"),
            b'\r' => json.extend(b"\\r"),
            b'\t' => json.extend(b"\\t"),
            0..=0x1f => {
                let digit = |value: u8| char::from_digit((value & 0xf).into(), 16).map_or(b'0', |c| c as u8);
                json.extend(b"\\u00");
                json.extend([digit(byte >> 4), digit(byte)]);
            }
            other => json.push(other),
        }
    }
    json.push(b'"');
}

/// What is left of a text that is UTF-8.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn space(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.0.split_first() {
            self.0 = rest;
        }
    }

    fn take(&mut self) -> Result<u8, Flaw> {
        let (&first, rest) = self.0.split_first().ok_or(Flaw::Syntax)?;
        self.0 = rest;
        Ok(first)
    }

    fn takes(&mut self, wanted: u8) -> bool {
        let found = self.0.first() == Some(&wanted);
        if found {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        found
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Flaw> {
        if self.takes(wanted) { Ok(()) } else { Err(Flaw::Syntax) }
    }

    /// The bytes of `before` that were taken since.
    fn since(&self, before: &'a [u8]) -> &'a [u8] {
        before.get(..before.len().saturating_sub(self.0.len())).unwrap_or_default()
    }

    fn value(&mut self, depth: usize) -> Result<&'a [u8], Flaw> {
        let before = self.0;
        match before.first() {
            Some(b'{') => self.object(depth, &mut |_, _| {})?,
            Some(b'[') => self.array(depth, &mut |_| {})?,
            Some(b'"') => self.string()?,
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            _ => self.number()?,
        }
        Ok(self.since(before))
    }

    fn object(&mut self, depth: usize, each: &mut dyn FnMut(&'a [u8], &'a [u8])) -> Result<(), Flaw> {
        let inside = depth.checked_sub(1).ok_or(Flaw::Depth)?;
        self.expect(b'{')?;
        self.space();
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let before = self.0;
            self.string()?;
            let name = self.since(before);
            self.space();
            self.expect(b':')?;
            self.space();
            each(name, self.value(inside)?);
            self.space();
            if !self.takes(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize, each: &mut dyn FnMut(&'a [u8])) -> Result<(), Flaw> {
        let inside = depth.checked_sub(1).ok_or(Flaw::Depth)?;
        self.expect(b'[')?;
        self.space();
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            self.space();
            each(self.value(inside)?);
            self.space();
            if !self.takes(b',') {
                return self.expect(b']');
            }
        }
    }

    fn string(&mut self) -> Result<(), Flaw> {
        self.expect(b'"')?;
        loop {
            let plain = self.0.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)).count();
            self.0 = self.0.get(plain..).unwrap_or_default();
            match self.take()? {
                b'"' => return Ok(()),
                b'\\' => match self.take()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            if !self.take()?.is_ascii_hexdigit() {
                                return Err(Flaw::Syntax);
                            }
                        }
                    }
                    _ => return Err(Flaw::Syntax),
                },
                _ => return Err(Flaw::Syntax),
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Flaw> {
        self.0 = self.0.strip_prefix(word).ok_or(Flaw::Syntax)?;
        Ok(())
    }

    fn number(&mut self) -> Result<(), Flaw> {
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Flaw> {
        if !self.take()?.is_ascii_digit() {
            return Err(Flaw::Syntax);
        }
        while let Some((b'0'..=b'9', rest)) = self.0.split_first() {
            self.0 = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_is_taken_as_it_is() {
        for text in [
            r#"{"a":[1,-0.5e+10,true,false,null,"x"],"b":{"c":{}}}"#,
            "123456789012345678901234567890",
            "1.0",
            "1e400",
            "-0",
            r#""\"\\\/\b\f\n\r\t\u0001é阳\u007f\ud800""#,
            "[ ]",
            "{\n}",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(text.as_bytes()));
            assert_eq!(check(format!("\u{feff} \r\n\t{text}\n").as_bytes()), Ok(text.as_bytes()));
        }
    }

    #[test]
    fn nothing_but_json_is_json() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "{\"a\":1,}",
            "{'a':1}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "NaN",
            "tru",
            "\"",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "1 2",
            "{} x",
            "/**/1",
            "{\"a\"}",
            "{1:2}",
            "[1 2]",
            "\u{a0}1",
            "{\"a\":}",
            "[,]",
            "{,}",
            "{}\n{}",
            " \u{feff}1",
        ] {
            assert_eq!(check(text.as_bytes()), Err(Flaw::Syntax), "{text}");
        }
        assert_eq!(check(b"\"\xff\""), Err(Flaw::Encoding));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(check(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(check(nested(MAX_DEPTH + 1).as_bytes()), Err(Flaw::Depth));
        assert_eq!(check("{\"a\":".repeat(1_000_000).as_bytes()), Err(Flaw::Depth));
        assert!(is_within(b"[[1]]", 2) && !is_within(b"[[1]]", 1) && is_within(b"1", 0));
    }

    #[test]
    fn containers_are_taken_apart_one_level_at_a_time() {
        assert_eq!(items(b"[ 1 , [2] ]"), Some(vec![&b"1"[..], b"[2]"]));
        assert_eq!(items(b"[]"), Some(vec![]));
        assert_eq!(items(b"{}"), None);
        let object = br#"{ "a" : {"b":1} , "a":2}"#;
        let expected: Vec<(&[u8], &[u8])> = vec![(b"\"a\"", b"{\"b\":1}"), (b"\"a\"", b"2")];
        assert_eq!(members(object), Some(expected));
        assert_eq!(members(b"1"), None);
    }

    #[test]
    fn strings_are_decoded_and_encoded() {
        let decoded = decode(br#""\b\f\n\r\t\/\"\\\u0041x\ud83d\ude00\u00e9""#).unwrap();
        assert_eq!(decoded, "\u{8}\u{c}\n\r\t/\"\\Ax😀é");
        assert_eq!(decode(b"\"plain\"").as_deref(), Some("plain"));
        for nothing in [&br#""\ud800""#[..], br#""\udc00""#, br#""\ud800\u0041""#, br#""\ud800x""#, b"1"] {
            assert_eq!(decode(nothing), None);
        }
        let mut json = Vec::new();
        encode("a\"\\\n\r\t\u{1}\u{1f}\u{7f}é", &mut json);
        assert_eq!(json, "\"a\\\"\\\\\\n\\r\\t\\u0001\\u001f\u{7f}é\"".as_bytes());
    }
}
