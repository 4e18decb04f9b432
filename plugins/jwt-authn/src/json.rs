//! JSON as strictly as a token needs it: a member twice is an error at any depth, and numbers keep their text.
//!
//! Parsers that keep the last of two members and parsers that keep the first read two tokens where there is one; a
//! number that went through a double comes out as another one.

/// A JSON value; of an object, the members in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// As it was written.
    Number(String),
    /// A string, decoded.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Map(Vec<(String, Json)>),
}

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Not JSON.
    Syntax,
    /// A member twice.
    Duplicate,
    /// Nested too deep.
    Depth,
    /// More than [`MAX_MEMBERS`] in one object.
    Members,
}

/// Of one object.
pub const MAX_MEMBERS: usize = 512;

/// Reads a text that is one value, nested at most `max_depth` deep.
///
/// # Errors
/// The first [`Flaw`].
pub fn parse(text: &[u8], max_depth: usize) -> Result<Json, Flaw> {
    let mut parser = Parser { rest: std::str::from_utf8(text).map_err(|_| Flaw::Syntax)? };
    parser.white_space()?;
    let value = parser.value(max_depth)?;
    parser.white_space()?;
    if parser.rest.is_empty() { Ok(value) } else { Err(Flaw::Syntax) }
}

impl Json {
    /// The member of an object.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.iter().find(|(seen, _)| seen == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The member of nested objects that a path leads to.
    #[must_use]
    pub fn find(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |value, step| value.member(step))
    }

    /// A string.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What is not a list and not an object, as text; `null` is nothing.
    #[must_use]
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// JSON again, without white space.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(true) => text.push_str("true"),
            Self::Bool(false) => text.push_str("false"),
            Self::Number(number) => text.push_str(number),
            Self::Text(value) => write_text(value, text),
            Self::List(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    item.write(text);
                }
                text.push(']');
            }
            Self::Map(members) => {
                text.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    write_text(name, text);
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }
}

/// Appends a JSON string.
pub fn write_text(value: &str, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            control if control.is_ascii_control() => {
                let digit = |value: u32| char::from_digit(value & 0xf, 16).unwrap_or('0');
                text.push_str("\\u00");
                text.push(digit(u32::from(control) >> 4));
                text.push(digit(u32::from(control)));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn next(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// The next bytes, which must end where a character does.
    fn advance(&mut self, bytes: usize) -> Result<&'a str, Flaw> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Flaw::Syntax)?;
        self.rest = rest;
        Ok(taken)
    }

    fn advance_while(&mut self, is_wanted: fn(u8) -> bool) -> Result<&'a str, Flaw> {
        let unwanted = self.rest.bytes().position(|byte| !is_wanted(byte));
        self.advance(unwanted.unwrap_or(self.rest.len()))
    }

    fn white_space(&mut self) -> Result<(), Flaw> {
        self.advance_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).map(drop)
    }

    fn take(&mut self) -> Result<u8, Flaw> {
        let next = self.next().ok_or(Flaw::Syntax)?;
        self.advance(1)?;
        Ok(next)
    }

    fn is_next(&mut self, wanted: u8) -> bool {
        self.next() == Some(wanted) && self.advance(1).is_ok()
    }

    fn value(&mut self, depth: usize) -> Result<Json, Flaw> {
        match self.next() {
            Some(b'{') => self.map(depth.checked_sub(1).ok_or(Flaw::Depth)?),
            Some(b'[') => self.list(depth.checked_sub(1).ok_or(Flaw::Depth)?),
            Some(b'"') => self.text().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(Flaw::Syntax),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Flaw> {
        self.rest = self.rest.strip_prefix(word).ok_or(Flaw::Syntax)?;
        Ok(value)
    }

    fn map(&mut self, depth: usize) -> Result<Json, Flaw> {
        self.take()?;
        let mut members: Vec<(String, Json)> = Vec::new();
        self.white_space()?;
        if self.is_next(b'}') {
            return Ok(Json::Map(members));
        }
        loop {
            self.white_space()?;
            if self.next() != Some(b'"') {
                return Err(Flaw::Syntax);
            }
            let name = self.text()?;
            self.white_space()?;
            if self.take()? != b':' {
                return Err(Flaw::Syntax);
            }
            self.white_space()?;
            let value = self.value(depth)?;
            if members.len() >= MAX_MEMBERS {
                return Err(Flaw::Members);
            }
            if members.iter().any(|(seen, _)| *seen == name) {
                return Err(Flaw::Duplicate);
            }
            members.push((name, value));
            self.white_space()?;
            match self.take()? {
                b',' => {}
                b'}' => return Ok(Json::Map(members)),
                _ => return Err(Flaw::Syntax),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, Flaw> {
        self.take()?;
        let mut items = Vec::new();
        self.white_space()?;
        if self.is_next(b']') {
            return Ok(Json::List(items));
        }
        loop {
            self.white_space()?;
            items.push(self.value(depth)?);
            self.white_space()?;
            match self.take()? {
                b',' => {}
                b']' => return Ok(Json::List(items)),
                _ => return Err(Flaw::Syntax),
            }
        }
    }

    /// What `before` had and the parser no longer has.
    fn since(&self, before: &'a str) -> &'a str {
        before.get(..before.len().saturating_sub(self.rest.len())).unwrap_or_default()
    }

    fn number(&mut self) -> Result<String, Flaw> {
        let before = self.rest;
        self.is_next(b'-');
        if !self.is_next(b'0') {
            self.digits()?;
        }
        if self.is_next(b'.') {
            self.digits()?;
        }
        if self.is_next(b'e') || self.is_next(b'E') {
            let _ = self.is_next(b'+') || self.is_next(b'-');
            self.digits()?;
        }
        Ok(self.since(before).to_owned())
    }

    fn digits(&mut self) -> Result<(), Flaw> {
        if !self.take()?.is_ascii_digit() {
            return Err(Flaw::Syntax);
        }
        self.advance_while(|byte| byte.is_ascii_digit()).map(drop)
    }

    fn text(&mut self) -> Result<String, Flaw> {
        self.take()?;
        let mut text = self.plain_text()?.to_owned();
        loop {
            match self.take()? {
                b'"' => return Ok(text),
                b'\\' => text.push(self.escape()?),
                _ => return Err(Flaw::Syntax),
            }
            text.push_str(self.plain_text()?);
        }
    }

    fn plain_text(&mut self) -> Result<&'a str, Flaw> {
        self.advance_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f))
    }

    fn escape(&mut self) -> Result<char, Flaw> {
        Ok(match self.take()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex4()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return char::from_u32(high).ok_or(Flaw::Syntax);
                }
                self.rest = self.rest.strip_prefix("\\u").ok_or(Flaw::Syntax)?;
                let low = self.hex4()?;
                if !(0xdc00..0xe000).contains(&low) {
                    return Err(Flaw::Syntax);
                }
                let units = [narrow(high), narrow(low)];
                return char::decode_utf16(units).next().and_then(Result::ok).ok_or(Flaw::Syntax);
            }
            _ => return Err(Flaw::Syntax),
        })
    }

    fn hex4(&mut self) -> Result<u32, Flaw> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = char::from(self.take()?).to_digit(16).ok_or(Flaw::Syntax)?;
            value = value << 4 | digit;
        }
        Ok(value)
    }
}

fn narrow(unit: u32) -> u16 {
    u16::try_from(unit).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> Option<Flaw> {
        parse(text.as_bytes(), 4).err()
    }

    #[test]
    fn what_is_read_is_written_again() {
        for text in [
            r#"{"a":[1,-0.5e+10,true,false,null,"x"],"b":{"c":{}}}"#,
            "12345678901234567890123",
            r#""\"\\\u0001é阳\u007f""#,
            "[]",
        ] {
            assert_eq!(parse(text.as_bytes(), 8).unwrap().to_json(), text);
        }
    }

    #[test]
    fn escapes_are_decoded() {
        let text = r#""\b\f\n\r\t\/\u0041\ud83d\ude00\udbff\udfff""#;
        let expected = "\u{8}\u{c}\n\r\t/A😀\u{10ffff}";
        assert_eq!(parse(text.as_bytes(), 1), Ok(Json::Text(expected.into())));
    }

    #[test]
    fn a_member_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"b":{"a":1,"a":2}}]"#,
            r#"{"x":1,"y":{"z":[{"a":1,"b":2,"a":3}]}}"#,
        ] {
            assert_eq!(flaw(text), Some(Flaw::Duplicate), "{text}");
        }
    }

    #[test]
    fn depth_and_members_are_bounded() {
        assert_eq!(flaw("[[[[]]]]"), None);
        assert_eq!(flaw("[[[[[]]]]]"), Some(Flaw::Depth));
        assert_eq!(flaw(&"[".repeat(100_000)), Some(Flaw::Depth));
        let object = |members: usize| {
            let members: Vec<String> = (0..members).map(|number| format!("\"{number}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(flaw(&object(MAX_MEMBERS)), None);
        assert_eq!(flaw(&object(MAX_MEMBERS + 1)), Some(Flaw::Members));
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
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\u0041\"",
            "1 2",
            "{} x",
            "\u{feff}{}",
            "/**/1",
            "{\"a\"}",
            "{1:2}",
            "[1 2]",
            "\u{a0}1",
        ] {
            assert_eq!(flaw(text), Some(Flaw::Syntax), "{text}");
        }
        assert_eq!(parse(b"\"\xff\"", 1), Err(Flaw::Syntax));
    }

    #[test]
    fn a_path_leads_through_objects_only() {
        let json = parse(br#"{"a":{"b.c":1},"d":[{"e":1}]}"#, 8).unwrap();
        let find = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|&step| step.to_owned()).collect();
            json.find(&path).and_then(Json::scalar).map(str::to_owned)
        };
        assert_eq!(find(&["a", "b.c"]).as_deref(), Some("1"));
        assert_eq!(find(&["a", "b", "c"]), None);
        assert_eq!(find(&["d", "e"]), None);
    }
}
