//! From a path to a label of few values: its template.

use std::borrow::Cow;

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::matching::PathTemplate;

use crate::config::{Paths, Unmatched};

/// Compiled `paths`.
#[derive(Debug)]
pub struct Routes {
    templates: Vec<(String, PathTemplate)>,
    unmatched: Unmatched,
}

/// The label of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// A template, or the path with its ids replaced.
    pub label: Cow<'a, [u8]>,
    /// Whether no template matched and the client's own words are the label.
    pub is_guessed: bool,
}

/// What a segment becomes that is an id.
const ID: &[u8] = b"{id}";

impl Routes {
    /// Compiles the templates.
    ///
    /// # Errors
    /// Where a template is wrong, or is there twice.
    pub fn compile(paths: &Paths) -> Result<Self, ConfigError> {
        let mut templates: Vec<(String, PathTemplate)> = Vec::new();
        for (index, text) in paths.templates.iter().enumerate() {
            let known = templates.iter().any(|(known, _)| known == text);
            let template = if known {
                Err(ConfigError::new(format!("{} is there already", quoted(text))))
            } else {
                PathTemplate::new(text)
            };
            templates.push((text.clone(), template.at_index(index).at("templates").at("paths")?));
        }
        Ok(Self { templates, unmatched: paths.unmatched })
    }

    /// The label of a target, which has no query; one without a path has none.
    pub fn of<'a>(&'a self, target: &'a [u8]) -> Option<Route<'a>> {
        let path = path_of(target)?;
        let template = self.templates.iter().find(|(_, template)| template.capture(path, false).is_some());
        let (label, is_guessed) = match (template, self.unmatched) {
            (Some((text, _)), _) => (Cow::Borrowed(text.as_bytes()), false),
            (None, Unmatched::Auto) => (without_ids(without_query(path)), true),
            (None, Unmatched::Other) => (Cow::Borrowed(&b"other"[..]), false),
        };
        Some(Route { label, is_guessed })
    }

    /// Whether clients choose some labels and templates are the others, so that the ones can crowd out the others.
    pub fn are_mixed(&self) -> bool {
        self.unmatched == Unmatched::Auto && !self.templates.is_empty()
    }
}

/// The path of a target: of one in absolute form, what follows the authority.
fn path_of(target: &[u8]) -> Option<&[u8]> {
    if target.starts_with(b"/") || target == b"*" {
        return Some(target);
    }
    let scheme = target.windows(3).position(|part| part == b"://")?;
    let authority = target.get(scheme.saturating_add(3)..)?;
    let path = authority.iter().position(|&byte| byte == b'/').and_then(|at| authority.get(at..));
    Some(path.unwrap_or(b"/"))
}

/// Cuts off a query, its `?` plain or encoded, and of a path or URL the fragment.
pub fn without_query(value: &[u8]) -> &[u8] {
    let is_query = |at: usize| matches!(value.get(at..), Some([b'?', ..] | [b'%', b'3', b'f' | b'F', ..]));
    let end = (0..value.len()).find(|&at| is_query(at)).unwrap_or(value.len());
    let before = value.get(..end).unwrap_or(value);
    let is_url = before.starts_with(b"/") || before.windows(3).any(|part| part == b"://");
    match before.iter().position(|&byte| byte == b'#').filter(|_| is_url) {
        Some(fragment) => before.get(..fragment).unwrap_or(before),
        None => before,
    }
}

/// The path with `{id}` for each segment that is an id.
fn without_ids(path: &[u8]) -> Cow<'_, [u8]> {
    let segments = || path.split(|&byte| byte == b'/');
    if !segments().any(is_id) {
        return Cow::Borrowed(path);
    }
    let segments: Vec<&[u8]> = segments().map(|segment| if is_id(segment) { ID } else { segment }).collect();
    Cow::Owned(segments.join(&b'/'))
}

/// A number, a UUID, or a long hexadecimal number.
fn is_id(segment: &[u8]) -> bool {
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_number = digits > 0 && digits == segment.len();
    // `feedbeef` may be a word; with a digit in it, or as long as a hash, it is none.
    let is_hex = segment.len() >= 8
        && segment.iter().all(u8::is_ascii_hexdigit)
        && (digits > 0 || segment.len() >= 16);
    is_number || is_hex || is_uuid(segment)
}

fn is_uuid(segment: &[u8]) -> bool {
    segment.len() == 36
        && segment.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(templates: &[&str], unmatched: Unmatched, path: &str) -> Option<String> {
        let templates = templates.iter().map(|text| (*text).to_owned()).collect();
        let routes = Routes::compile(&Paths { templates, unmatched }).unwrap();
        routes.of(path.as_bytes()).map(|route| String::from_utf8(route.label.into_owned()).unwrap())
    }

    #[test]
    fn the_first_template_that_matches_is_the_label() {
        let templates = ["/users/{id}", "/users/{id}/{what}", "/static/{rest=**}", "/users/{id}/orders"];
        for (path, expected) in [
            ("/users/7", "/users/{id}"),
            ("/users/alice", "/users/{id}"),
            ("/users/7/orders", "/users/{id}/{what}"),
            ("/static/css/a.css", "/static/{rest=**}"),
            ("/users/7/", "other"),
            ("/", "other"),
        ] {
            assert_eq!(label(&templates, Unmatched::Other, path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn ids_are_found_in_other_paths() {
        for (path, expected) in [
            ("/", "/"),
            ("/healthz", "/healthz"),
            ("/users/7", "/users/{id}"),
            ("/users/7/", "/users/{id}/"),
            ("/users/007/orders/42", "/users/{id}/orders/{id}"),
            ("/v1/x", "/v1/x"),
            ("/a/550e8400-e29b-41d4-a716-446655440000", "/a/{id}"),
            ("/a/550E8400-E29B-41D4-A716-446655440000", "/a/{id}"),
            ("/a/550e8400-e29b-41d4-a716-44665544000g", "/a/550e8400-e29b-41d4-a716-44665544000g"),
            ("/a/507f1f77bcf86cd799439011", "/a/{id}"),
            ("/a/deadbeef", "/a/deadbeef"),
            ("/a/deadbee1", "/a/{id}"),
            ("/a/deadbeefdeadbeef", "/a/{id}"),
            ("/a/cafe", "/a/cafe"),
            ("/a/1.5", "/a/1.5"),
            ("//7", "//{id}"),
            ("*", "*"),
            ("http://shop.example.com/users/7", "/users/{id}"),
            ("HTTPS://a:b@shop.example.com", "/"),
            ("/login%3Ftoken=secret", "/login"),
            ("/a/%3fx", "/a/"),
        ] {
            assert_eq!(label(&[], Unmatched::Auto, path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_target_without_a_path_has_no_template() {
        for target in ["", "token", "shop.example.com:443", "users/7"] {
            assert_eq!(label(&["/{all=**}"], Unmatched::Auto, target), None, "{target}");
        }
    }

    #[test]
    fn a_template_matches_a_target_in_absolute_form() {
        let path = "http://shop.example.com/users/7";
        assert_eq!(label(&["/users/{id}"], Unmatched::Other, path).as_deref(), Some("/users/{id}"));
    }
}
