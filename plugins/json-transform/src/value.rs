//! A value in the configuration: JSON whose texts are templates.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError};
use plugin_kit::matching::Captures;
use plugin_kit::request::Request;
use plugin_kit::template::{Bound, Syntax, Template};

use crate::json;

/// A compiled value: JSON as it is written, with the texts to fill in between.
#[derive(Clone, Debug)]
pub struct Value(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Json(Vec<u8>),
    Text(Template),
}

/// The texts of a value, of which only the time is not known yet.
#[derive(Clone, Debug)]
pub struct BoundTexts(Vec<Bound>);

impl Value {
    /// Compiles the text of a value. The names of members are no templates.
    ///
    /// # Errors
    /// Where a template is wrong.
    pub fn new(text: &[u8], captures: &[String]) -> Result<Self, ConfigError> {
        let mut value = Self(Vec::new());
        value.compile(text, captures)?;
        Ok(value)
    }

    fn compile(&mut self, text: &[u8], captures: &[String]) -> Result<(), ConfigError> {
        if let Some(members) = json::members(text) {
            let mut before: &[u8] = b"{";
            for (name, value) in members {
                self.json(before);
                self.json(name);
                self.json(b":");
                self.compile(value, captures).at(&json::decode(name).unwrap_or_default())?;
                before = b",";
            }
            if before == b"{" {
                self.json(before);
            }
            self.json(b"}");
        } else if let Some(items) = json::items(text) {
            self.json(b"[");
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    self.json(b",");
                }
                self.compile(item, captures).at_index(index)?;
            }
            self.json(b"]");
        } else {
            match json::decode(text).filter(|decoded| decoded.contains('$')) {
                Some(decoded) => {
                    self.0.push(Part::Text(Template::new(&decoded, captures, Syntax::Plain)?));
                }
                None => self.json(text),
            }
        }
        Ok(())
    }

    fn json(&mut self, text: &[u8]) {
        match self.0.last_mut() {
            Some(Part::Json(last)) => last.extend_from_slice(text),
            _ => self.0.push(Part::Json(text.to_vec())),
        }
    }

    /// Fills in all but the time.
    pub fn bind(&self, request: &Request, captures: &Captures) -> BoundTexts {
        let templates = self.0.iter().filter_map(|part| match part {
            Part::Json(_) => None,
            Part::Text(template) => Some(template.bind(request, captures)),
        });
        BoundTexts(templates.collect())
    }

    /// The JSON. What a client sent is not text everywhere: what is not UTF-8 becomes U+FFFD.
    pub fn fill(&self, texts: &BoundTexts, now: Duration) -> Vec<u8> {
        let mut texts = texts.0.iter();
        let mut filled = Vec::new();
        for part in &self.0 {
            match part {
                Part::Json(json) => filled.extend_from_slice(json),
                Part::Text(_) => {
                    let text = texts.next().map(|text| text.fill(now)).unwrap_or_default();
                    json::encode(&String::from_utf8_lossy(&text), &mut filled);
                }
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let request = Request::detached(&[("x-a", b"\"\xff\n")]);
        let value = Value::new(text.as_bytes(), &[]).unwrap();
        let filled = value.fill(&value.bind(&request, &Captures::default()), Duration::ZERO);
        String::from_utf8(filled).unwrap()
    }

    #[test]
    fn texts_are_templates_and_all_else_stays_as_it_is() {
        for (text, expected) in [
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#""\u0041""#, r#""\u0041""#),
            (r#""$$""#, r#""$""#),
            (r#""${header:x-a}""#, "\"\\\"\u{fffd}\\n\""),
            (
                r#"{"${x}": [1.0, "${now}", {}, []], "b": true}"#,
                r#"{"${x}":[1.0,"1970-01-01T00:00:00.000Z",{},[]],"b":true}"#,
            ),
            ("{}", "{}"),
            ("[ ]", "[]"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        let failed = Value::new(br#"{"a":["x","${1}"]}"#, &[]).unwrap_err();
        assert_eq!(failed.to_string(), "a[1]: there is no group \"1\"");
    }
}
