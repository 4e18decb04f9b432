//! Nothing that a client, an application, a configuration or a neighbour says stops the plugin.

use rate_limit::RateLimit;

/// A service is asked, and what it denied is remembered.
const SERVICE: &str = r#"{"rls": {"cluster": "ratelimit", "domain": "edge", "timeout": "500ms", "failureMode": "deny"},
    "limits": [{"name": "tenant", "backend": "rls", "onMissingKey": "empty",
        "descriptor": [{"key": "tenant", "value": "header:x-tenant"}]},
        {"name": "own", "key": [], "requests": 5, "per": "1h"}]}"#;

plugin_testkit::hostile!(RateLimit, SERVICE);
