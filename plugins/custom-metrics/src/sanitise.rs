//! From any bytes to a value that cannot become another label.

/// What Istio's own expressions look for before a dot, wherever it stands: `(cache\.(.+?)\.)`.
const BEFORE_A_DOT: [&str; 5] = ["cache", "component", "tag", "wasm_filter", "rbac"];
/// And after one: `(\.istio_dry_run_(allow|deny)_)`, `(\.shadow_(allowed|denied))`.
const AFTER_A_DOT: [&str; 2] = ["istio_dry_run_", "shadow_"];

/// The value as a label: at most `max` bytes, without `;`, `=.=`, controls and what is not UTF-8, each of which is `_`.
pub fn sanitise(value: &[u8], max: usize) -> String {
    let mut label = String::with_capacity(value.len().min(max));
    for chunk in value.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(first) = rest.chars().next() {
            let (written, taken) = next(&label, first, rest);
            if label.len().saturating_add(written.len_utf8()) > max {
                return label;
            }
            label.push(written);
            rest = rest.get(taken..).unwrap_or_default();
        }
        if !chunk.invalid().is_empty() {
            if label.len() >= max {
                return label;
            }
            label.push('_');
        }
    }
    label
}

/// The next character of the label, and how many bytes of the value it stands for.
fn next(label: &str, first: char, rest: &str) -> (char, usize) {
    let is_control = matches!(first, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}');
    if rest.starts_with("=.=") {
        return ('_', 3);
    }
    let is_a_tags_dot = first == '.'
        && (BEFORE_A_DOT.iter().any(|word| label.ends_with(word))
            || AFTER_A_DOT.iter().any(|word| rest.get(1..).is_some_and(|rest| rest.starts_with(word))));
    if is_control || first == ';' || is_a_tags_dot {
        ('_', first.len_utf8())
    } else {
        (first, first.len_utf8())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_safe_stays() {
        for value in ["acme", "/users/{id}", "a.b/c d", "it's \"quoted\\\"", "阳明", "a=b", "a.=b", "tags.x"]
        {
            assert_eq!(sanitise(value.as_bytes(), 128), value);
        }
    }

    #[test]
    fn what_would_end_or_begin_a_label_is_replaced() {
        for (value, expected) in [
            (&b"x;.;method=.=EVIL"[..], "x_._method_EVIL"),
            (b"a\nb\r\0\x7f", "a_b___"),
            (b"\xff\xfe", "__"),
            (b"a\xe9\x98", "a_"),
            (b"=.=.=", "_.="),
            (";\u{85}\u{2028}".as_bytes(), "___"),
            (b"cache.hit.x", "cache_hit.x"),
            (b"my.component.tag.wasm_filter.", "my.component_tag_wasm_filter_"),
            (b"a.shadow_denied", "a_shadow_denied"),
            (b"tag=.=.x", "tag_.x"),
        ] {
            assert_eq!(sanitise(value, 128), expected, "{value:?}");
        }
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        assert_eq!(sanitise(&[b'a'; 2000], 128), "a".repeat(128));
        assert_eq!(sanitise("阳明".as_bytes(), 5), "阳");
        assert_eq!(sanitise(b"ab\xff", 2), "ab");
        assert_eq!(sanitise(b"a=.=b", 2), "a_");
    }
}
