//! Argo CD's health check of a WasmPlugin, run by the Lua that Envoy has.

use std::fs;

use harness::{Bootstrap, Client, Envoy, Listener, Message, workspace_root};
use serde_json::json;

const CONFIG_MAP: &str = "manifests/argocd/argocd-cm.yaml";

fn start() -> Envoy {
    let yaml = fs::read_to_string(workspace_root().join(CONFIG_MAP)).unwrap();
    let (_, script) = yaml.split_once("health.extensions.istio.io_WasmPlugin: |\n").unwrap();
    let code = format!(
        "local function health(obj)\n{script}\nend
        function envoy_on_request(handle)
          local header = function(name) return handle:headers():get(name) end
          local told = header('x-error') and {{validationMessages = {{{{level = 'ERROR'}}}}}}
          local answer = health({{spec = {{url = header('x-url'), sha256 = header('x-sha256')}}, status = told}})
          handle:respond({{[':status'] = '200'}}, answer.status .. ': ' .. answer.message)
        end"
    );
    let lua = json!({
        "name": "health",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": code},
        },
    });
    let nobody = ([127, 0, 0, 1], 9).into();
    Bootstrap::new()
        .cluster("upstream", nobody)
        .listener(Listener::new("health").filter(lua))
        .start()
        .unwrap()
}

#[test]
fn a_plugin_without_a_digest_is_degraded() {
    let envoy = start();
    let client = Client::new(envoy.address("health"));
    let health = |headers: &[(&str, &str)]| {
        let request =
            headers.iter().fold(Message::get("/"), |request, (name, value)| request.header(name, value));
        String::from_utf8(client.send(&request).unwrap().body).unwrap()
    };
    let (image, digest) = ("oci://registry.example.com:5000/a:1.0.0", "ab".repeat(32));
    let pinned = format!("{image}@sha256:{digest}");
    let unreleased = format!("{image}@sha256:{}", "0".repeat(64));
    for (headers, expected) in [
        (vec![], "Degraded: spec.url: not pinned"),
        (vec![("x-url", image)], "Degraded: spec.url: not pinned"),
        (vec![("x-url", "oci://a@sha256:abc")], "Degraded: spec.url: not pinned"),
        (vec![("x-url", unreleased.as_str())], "Degraded: spec.url: not released yet"),
        (vec![("x-url", pinned.as_str())], "Healthy: applied"),
        (vec![("x-url", image), ("x-sha256", digest.as_str())], "Healthy: applied"),
        (vec![("x-url", pinned.as_str()), ("x-error", "yes")], "Degraded: Istio finds an error"),
    ] {
        let said = health(&headers);
        assert!(said.starts_with(expected), "{headers:?}: {said}");
    }
}
