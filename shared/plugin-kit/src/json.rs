//! A strict JSON reader: a repeated member is an error at any depth, and numbers keep their text.
//!
//! Of two members with one name, some readers keep the first and some the last, so one document has two meanings. A number
//! that passes through a double is another number afterwards.

/// A JSON value; the members of an object are in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    /// Decoded.
    String(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

/// Why a document is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not JSON.
    Syntax,
    /// An object has two members of one name.
    Duplicate,
    /// It nests too deep.
    Depth,
    /// An object has more than [`MAX_MEMBERS`].
    Members,
}

/// How many members an object may have.
pub const MAX_MEMBERS: usize = 512;

/// Reads a document that nests at most `max_depth` deep.
///
/// # Errors
/// The first [`Flaw`].
pub fn parse(text: &[u8], max_depth: usize) -> Result<Json, Flaw> {
    let mut parser = Parser { text: std::str::from_utf8(text).map_err(|_| Flaw::Syntax)?, at: 0 };
    let mut value = Json::Null;
    parser.value(max_depth, &mut value)?;
    if parser.at == text.len() { Ok(value) } else { Err(Flaw::Syntax) }
}

impl Json {
    /// The member of an object; `None` for other values too.
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

    /// The content of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a string, a number or a boolean.
    #[must_use]
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Number(text) => Some(text),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The value as JSON without white space.
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
            Self::String(value) => write_string(value, text),
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
                    write_string(name, text);
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }
}

/// Appends a JSON string.
pub fn write_string(value: &str, text: &mut String) {
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

/// Values are read into their place, which is less code than to move them out of a `Result` at every step.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// The next byte; NUL, which no token has, at the end.
    fn next(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    fn take(&mut self) -> u8 {
        let next = self.next();
        self.skip();
        next
    }

    fn skip(&mut self) {
        self.at = self.at.saturating_add(1).min(self.text.len());
    }

    fn is_next(&mut self, wanted: u8) -> bool {
        let is_next = self.next() == wanted;
        if is_next {
            self.skip();
        }
        is_next
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Flaw> {
        if self.is_next(wanted) { Ok(()) } else { Err(Flaw::Syntax) }
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn white_space(&mut self) {
        while matches!(self.next(), b' ' | b'\t' | b'\n' | b'\r') {
            self.skip();
        }
    }

    /// Reads a value with the white space around it.
    fn value(&mut self, depth: usize, value: &mut Json) -> Result<(), Flaw> {
        self.white_space();
        match self.next() {
            b'{' => {
                let mut members = Vec::new();
                let read = self.members(depth.checked_sub(1).ok_or(Flaw::Depth)?, &mut members);
                *value = Json::Map(members);
                read?;
            }
            b'[' => {
                let mut items = Vec::new();
                let read = self.items(depth.checked_sub(1).ok_or(Flaw::Depth)?, &mut items);
                *value = Json::List(items);
                read?;
            }
            b'"' => {
                let mut text = String::new();
                let read = self.string(&mut text);
                *value = Json::String(text);
                read?;
            }
            b'-' | b'0'..=b'9' => *value = Json::Number(self.number()?.to_owned()),
            _ => *value = self.word()?,
        }
        self.white_space();
        Ok(())
    }

    fn word(&mut self) -> Result<Json, Flaw> {
        let start = self.at;
        while self.next().is_ascii_lowercase() {
            self.skip();
        }
        match self.since(start) {
            "null" => Ok(Json::Null),
            "true" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            _ => Err(Flaw::Syntax),
        }
    }

    fn members(&mut self, depth: usize, members: &mut Vec<(String, Json)>) -> Result<(), Flaw> {
        self.skip();
        self.white_space();
        if self.is_next(b'}') {
            return Ok(());
        }
        loop {
            self.white_space();
            let mut name = String::new();
            self.string(&mut name)?;
            if members.len() >= MAX_MEMBERS {
                return Err(Flaw::Members);
            }
            if members.iter().any(|(seen, _)| *seen == name) {
                return Err(Flaw::Duplicate);
            }
            self.white_space();
            self.expect(b':')?;
            members.push((name, Json::Null));
            let Some((_, value)) = members.last_mut() else { return Err(Flaw::Syntax) };
            self.value(depth, value)?;
            if !self.is_next(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn items(&mut self, depth: usize, items: &mut Vec<Json>) -> Result<(), Flaw> {
        self.skip();
        self.white_space();
        if self.is_next(b']') {
            return Ok(());
        }
        loop {
            items.push(Json::Null);
            let Some(value) = items.last_mut() else { return Err(Flaw::Syntax) };
            self.value(depth, value)?;
            if !self.is_next(b',') {
                return self.expect(b']');
            }
        }
    }

    fn number(&mut self) -> Result<&'a str, Flaw> {
        let start = self.at;
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
        Ok(self.since(start))
    }

    fn digits(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        while self.next().is_ascii_digit() {
            self.skip();
        }
        if self.at == start { Err(Flaw::Syntax) } else { Ok(()) }
    }

    fn string(&mut self, text: &mut String) -> Result<(), Flaw> {
        self.expect(b'"')?;
        loop {
            let start = self.at;
            while !matches!(self.next(), b'"' | b'\\' | 0..=0x1f) {
                self.skip();
            }
            text.push_str(self.since(start));
            match self.take() {
                b'"' => return Ok(()),
                b'\\' => text.push_str(self.escape()?.encode_utf8(&mut [0; 4])),
                _ => return Err(Flaw::Syntax),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Flaw> {
        const SHORT: [(u8, char); 8] = [
            (b'"', '"'),
            (b'\\', '\\'),
            (b'/', '/'),
            (b'b', '\u{8}'),
            (b'f', '\u{c}'),
            (b'n', '\n'),
            (b'r', '\r'),
            (b't', '\t'),
        ];
        let letter = self.take();
        if letter == b'u' {
            return self.unicode();
        }
        SHORT.iter().find(|(short, _)| *short == letter).map(|(_, escaped)| *escaped).ok_or(Flaw::Syntax)
    }

    fn unicode(&mut self) -> Result<char, Flaw> {
        let mut code = self.hex4()?;
        if (0xd800..0xdc00).contains(&code) {
            self.expect(b'\\')?;
            self.expect(b'u')?;
            let low = self.hex4()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(Flaw::Syntax);
            }
            code = 0x1_0000_u32.wrapping_add((code & 0x3ff) << 10 | low & 0x3ff);
        }
        char::from_u32(code).ok_or(Flaw::Syntax)
    }

    fn hex4(&mut self) -> Result<u32, Flaw> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = char::from(self.take()).to_digit(16).ok_or(Flaw::Syntax)?;
            value = value << 4 | digit;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> Option<Flaw> {
        parse(text.as_bytes(), 4).err()
    }

    #[test]
    fn writes_what_it_reads() {
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
    fn decodes_escapes() {
        let text = r#""\b\f\n\r\t\/\u0041\ud83d\ude00\udbff\udfff""#;
        let expected = "\u{8}\u{c}\n\r\t/A😀\u{10ffff}";
        assert_eq!(parse(text.as_bytes(), 1), Ok(Json::String(expected.into())));
    }

    #[test]
    fn rejects_a_repeated_member_at_any_depth() {
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
    fn bounds_depth_and_members() {
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
    fn rejects_what_is_not_json() {
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
