//! Nothing that a client, an application, a configuration or a neighbour says stops the plugin.

use jwt_authn::JwtAuthn;

/// Keys that are fetched, and kept in the shared data.
const REMOTE: &str = r#"{"providers": [{"name": "p", "issuer": "i", "jwksUri": "http://keys.example.com/jwks",
    "jwksCluster": "keys", "timeout": "1s", "jwksCache": {"ttl": "1s", "minRefetchInterval": "1s"},
    "outputClaimToHeaders": [{"header": "x-user-id", "claim": "sub"}]}]}"#;

plugin_testkit::hostile!(JwtAuthn, REMOTE);
