//! Nothing that a client, an application, a configuration or a neighbour says stops the plugin.

use ext_auth::ExtAuth;

/// Everybody is asked about, and answers are kept.
const ASKING: &str = r#"{
    "service": {"cluster": "authz", "pathPrefix": "/auth", "requestHeaders": ["authorization", "cookie"],
        "setHeaders": {"x-tenant": "${header:x-tenant}", "x-client": "${clientIp}"}},
    "onAllow": {"upstreamHeaders": ["x-user", "x-auth-*"], "clientHeaders": ["set-cookie"]},
    "cache": {"ttl": "30s", "entries": 8}}"#;

plugin_testkit::hostile!(ExtAuth, ASKING);
