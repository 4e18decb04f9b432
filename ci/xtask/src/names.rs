//! The names of functions, as short as a backtrace in Envoy's log can do with: they are a fifth of a small module.

/// Libraries that every module has: what called them says more, and they are half of the names.
const COMMON: [&str; 7] = ["alloc", "core", "dlmalloc", "hashbrown", "serde_core", "serde_json", "std"];

/// `proxy_wasm::dispatcher::Dispatcher::on_create_context` is `Dispatcher::on_create_context`; a function of a common
/// library has no name.
pub fn short(symbol: &str) -> Option<String> {
    let path = format!("{:#}", rustc_demangle::demangle(symbol));
    let library = path.trim_start_matches(['<', '&', '[', '(']).split("::").next();
    library.is_none_or(|library| !COMMON.contains(&library)).then(|| shorten(&path))
}

/// The last two segments of a path, and the closures in them, without the arguments of generics.
fn shorten(path: &str) -> String {
    let segments = segments(path);
    let named: Vec<usize> = (0..segments.len()).filter(|&at| !segments[at].starts_with('{')).collect();
    let first = named.len().checked_sub(2).map_or(0, |at| named[at]);
    segments[first..].join("::")
}

/// The segments of a path: each a name, a closure's `{{closure}}`, or the type that has the method.
fn segments(path: &str) -> Vec<String> {
    let mut segments = Vec::new();
    for (at, segment) in split(path, "::").into_iter().enumerate() {
        match segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            Some(inner) if at == 0 => segments.push(type_name(split(inner, " as ")[0])),
            Some(inner) => {
                if let Some(implementation) = inner.strip_prefix("impl ") {
                    let parts = split(implementation, " for ");
                    segments.push(type_name(parts[parts.len() - 1]));
                }
            }
            None => segments.push(without_arguments(segment).to_owned()),
        }
    }
    segments
}

fn type_name(name: &str) -> String {
    let name = name.trim();
    for prefix in ["&mut ", "&", "*const ", "*mut ", "dyn "] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return type_name(rest);
        }
    }
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(element) => format!("[{}]", type_name(element)),
        None => segments(name).pop().unwrap_or_default(),
    }
}

fn without_arguments(segment: &str) -> &str {
    match segment.find('<') {
        Some(at) if at > 0 => &segment[..at],
        _ => segment,
    }
}

/// Splits where no bracket is open; the `>` of an arrow closes nothing.
fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut start, mut depth, mut previous) = (Vec::new(), 0, 0_usize, ' ');
    for (at, character) in text.char_indices() {
        if depth == 0 && at >= start && text[at..].starts_with(separator) {
            parts.push(&text[start..at]);
            start = at + separator.len();
        }
        match character {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' if previous == '-' => {}
            '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        previous = character;
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_type_and_its_method() {
        for (long, expected) in [
            ("proxy_wasm::dispatcher::Dispatcher::on_delete", "Dispatcher::on_delete"),
            ("<plugin_kit::plugin::Root<P> as proxy_wasm::traits::Context>::on_done", "Root::on_done"),
            (
                "<plugin_kit::config::node::Node as serde_core::de::Deserialize>::deserialize",
                "Node::deserialize",
            ),
            ("alloc::vec::Vec<T,A>::push", "Vec::push"),
            ("<alloc::vec::Vec<u8>>::push", "Vec::push"),
            ("core::ptr::drop_in_place<alloc::boxed::Box<dyn core::any::Any>>", "ptr::drop_in_place"),
            ("memcpy", "memcpy"),
        ] {
            assert_eq!(shorten(long), expected, "{long}");
        }
    }

    #[test]
    fn an_implementation_in_a_path_is_the_type_it_is_for() {
        for (long, expected) in [
            ("core::str::<impl str>::trim_matches", "str::trim_matches"),
            ("alloc::slice::<impl [T]>::into_vec", "[T]::into_vec"),
            ("core::fmt::num::imp::<impl core::fmt::Display for u32>::fmt", "u32::fmt"),
            ("<&T as core::fmt::Debug>::fmt", "T::fmt"),
            ("<dyn core::any::Any>::is::<alloc::string::String>", "Any::is"),
            ("<[A] as core::slice::cmp::SlicePartialEq<B>>::equal", "[A]::equal"),
        ] {
            assert_eq!(shorten(long), expected, "{long}");
        }
    }

    #[test]
    fn a_closure_says_whose_it_is() {
        for (long, expected) in [
            ("std::panicking::panic_handler::{{closure}}", "panicking::panic_handler::{{closure}}"),
            ("proxy_wasm::logger::set_log_level::{closure#0}", "logger::set_log_level::{closure#0}"),
        ] {
            assert_eq!(shorten(long), expected, "{long}");
        }
    }

    #[test]
    fn an_arrow_closes_no_bracket() {
        let long = "<core::iter::Map<I,fn(u8) -> bool> as core::iter::Iterator>::next";
        assert_eq!(shorten(long), "Map::next");
    }

    #[test]
    fn a_symbol_loses_its_hash() {
        let symbol = "_ZN10plugin_kit9hostcalls30proxy_replace_header_map_value17had5dfe5f5dafc410E";
        assert_eq!(short(symbol).as_deref(), Some("hostcalls::proxy_replace_header_map_value"));
    }
    #[test]
    fn a_common_library_has_no_names() {
        for symbol in
            ["core::ptr::drop_in_place<plugin_kit::request::Request>", "<alloc::vec::Vec<u8>>::push"]
        {
            assert_eq!(short(symbol), None, "{symbol}");
        }
        assert_eq!(short("<rate_limit::Filter as core::fmt::Debug>::fmt").as_deref(), Some("Filter::fmt"));
    }
}
