//! Which exports of a module each callback of the SDK needs.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

/// What Envoy needs of every module, whatever the plugin does.
pub const ALWAYS: &[&str] = &[
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_delete",
];

/// The callbacks that the kit passes on to plugins: the SDK's name, and what Envoy calls for it.
const CALLBACKS: &[(&str, &[&str])] = &[
    ("on_http_request_headers", &["proxy_on_request_headers"]),
    ("on_http_request_body", &["proxy_on_request_body"]),
    ("on_http_request_trailers", &["proxy_on_request_trailers"]),
    ("on_http_response_headers", &["proxy_on_response_headers"]),
    ("on_http_response_body", &["proxy_on_response_body"]),
    ("on_http_response_trailers", &["proxy_on_response_trailers"]),
    ("on_log", &["proxy_on_log"]),
    ("on_done", &["proxy_on_done"]),
    ("on_tick", &["proxy_on_tick"]),
    ("on_http_call_response", &["proxy_on_http_call_response"]),
    ("on_grpc_call_response", &["proxy_on_grpc_receive", "proxy_on_grpc_close"]),
];

/// The exports that a plugin with these callbacks needs.
pub fn exports<'a>(declared: impl IntoIterator<Item = &'a str>) -> Result<BTreeSet<&'static str>> {
    let mut exports = BTreeSet::from_iter(ALWAYS.iter().copied());
    for name in declared {
        let Some((_, needed)) = CALLBACKS.iter().find(|(callback, _)| *callback == name) else {
            let known: Vec<_> = CALLBACKS.iter().map(|(callback, _)| *callback).collect();
            bail!("plugin!: {name:?} is not a callback; callbacks are {}", known.join(", "));
        };
        exports.extend(needed.iter());
    }
    Ok(exports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_a_grpc_call_is_two_exports() {
        let exports = exports(["on_grpc_call_response"]).unwrap();
        assert!(exports.contains("proxy_on_grpc_receive") && exports.contains("proxy_on_grpc_close"));
        assert_eq!(exports.len(), ALWAYS.len() + 2);
    }

    #[test]
    fn an_unknown_callback_is_told_the_known_ones() {
        let error = exports(["on_request_headers"]).unwrap_err().to_string();
        assert!(error.starts_with(
            "plugin!: \"on_request_headers\" is not a callback; callbacks are on_http_request_headers"
        ));
    }
}
