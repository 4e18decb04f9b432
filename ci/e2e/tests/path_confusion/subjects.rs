//! What protects the resources: nothing, Envoy's RBAC filter, or a plugin in each style of configuration.

#[path = "../../../../plugins/jwt-authn/tests/signer/mod.rs"]
mod signer;

use std::time::SystemTime;

use anyhow::Result;
use harness::{Listener, Plugin};
use serde_json::{Value, json};

/// The filter of a listener, and the clients that it lets in and keeps out.
pub struct Subject {
    pub name: &'static str,
    pub kind: Kind,
    filter: Option<Value>,
    /// `authorization` of a client that may not reach the protected resources.
    pub attacker: String,
    /// `authorization` of one that may, where there is any.
    pub admin: Option<String>,
    /// The prefix of the paths that the attacker may reach.
    pub open: &'static str,
}

/// What a subject is; the table adds up those of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Unprotected,
    Rbac,
    JwtAuthn,
    ExtAuth,
    RateLimit,
    PathRewrite,
}

impl Kind {
    /// Whether no spelling may reach a protected handler.
    pub fn is_plugin(self) -> bool {
        !matches!(self, Self::Unprotected | Self::Rbac)
    }
}

impl Subject {
    /// The listener in front of all servers; the header `x-server` chooses one.
    pub fn listener(&self, servers: &[&str]) -> Listener {
        let mut listener = Listener::new(self.name);
        match (&self.filter, self.kind) {
            (None, _) => {}
            (Some(filter), Kind::Rbac) => listener = listener.filter(filter.clone()),
            (Some(filter), _) => listener = listener.discovered(filter.clone()),
        }
        servers.iter().fold(listener, |listener, server| {
            listener.raw_route(json!({
                "match": {
                    "prefix": "/",
                    "headers": [{"name": "x-server", "string_match": {"exact": server}}],
                },
                "route": {"cluster": server, "timeout": "0s"},
            }))
        })
    }
}

/// The prefix of the only open paths, where everything else is protected.
pub const OPEN: &str = "/public";

/// The protected resources, as a `match`.
fn protected() -> Value {
    protected_by(&json!([{"prefix": "/admin"}, {"exact": "/keys"}]))
}

/// The same with other conditions on the path.
fn protected_by(paths: &Value) -> Value {
    json!({"any": [
        {"paths": paths},
        {"hosts": ["admin.example.com"]},
        {"methods": ["POST"], "paths": [{"exact": "/orders"}]},
    ]})
}

/// The open resources of the allow-lists, as a `match`.
fn open() -> Value {
    json!({"hosts": ["shop.example.com"], "paths": [{"prefix": OPEN}]})
}

/// Every subject; `authorization_service` is the cluster of ext-auth's.
pub fn subjects(authorization_service: &str) -> Result<Vec<Subject>> {
    let user = format!("Bearer {}", token("user"));
    let subject =
        |name, kind, filter, open| Subject { name, kind, filter, attacker: user.clone(), admin: None, open };
    let jwt = |name, config: Value, open| -> Result<Subject> {
        let filter = Plugin::named("jwt-authn")?.filter(name, &config)?;
        let admin = Some(format!("Bearer {}", token("admin")));
        Ok(Subject { admin, ..subject(name, Kind::JwtAuthn, Some(filter), open) })
    };
    let ext = |name, rules: Value, open| -> Result<Subject> {
        let config = json!({
            "service": {
                "cluster": authorization_service,
                "forwardAuth": {"path": "/verify"},
                "timeout": "10s",
                "breaker": {"failures": 0},
            },
            "rules": rules,
        });
        let filter = Plugin::named("ext-auth")?.filter(name, &config)?;
        let (attacker, admin) = ("bad mallory".into(), Some("good alice".into()));
        Ok(Subject { attacker, admin, ..subject(name, Kind::ExtAuth, Some(filter), open) })
    };
    let plugin = |name, kind, config: Value| -> Result<Subject> {
        Ok(subject(name, kind, Some(Plugin::named(name)?.filter(name, &config)?), ""))
    };
    let provider = json!({
        "name": "p",
        "issuer": "https://issuer.example.com",
        "algorithms": ["HS256"],
        "secret": {"value": signer::SECRET, "encoding": "base64url"},
    });
    let role = json!({"provider": "p", "claims": [{"claim": "roles", "anyOf": ["admin"]}]});
    Ok(vec![
        subject("no plugin", Kind::Unprotected, None, ""),
        subject("Envoy's RBAC", Kind::Rbac, Some(rbac()), ""),
        jwt(
            "jwt-authn, default: any token",
            json!({"providers": [provider], "rules": [{"match": protected(), "requires": role}]}),
            "",
        )?,
        jwt(
            "jwt-authn, default: none",
            json!({
                "providers": [provider],
                "rules": [{"match": protected(), "requires": role}],
                "defaultRequire": {"none": true},
            }),
            "",
        )?,
        jwt(
            "jwt-authn, regular expressions",
            json!({
                "providers": [provider],
                "rules": [{
                    "match": protected_by(&json!([{"regex": "^/admin(/|$)"}, {"regex": "^/keys$"}])),
                    "requires": role,
                }],
                "defaultRequire": {"none": true},
            }),
            "",
        )?,
        jwt(
            "jwt-authn, templates",
            json!({
                "providers": [provider],
                "rules": [{
                    "match": protected_by(&json!([
                        {"exact": "/admin"},
                        {"stringPrefix": "/admin/"},
                        {"template": "/admin/{rest=**}"},
                        {"template": "/keys"},
                    ])),
                    "requires": role,
                }],
                "defaultRequire": {"none": true},
            }),
            "",
        )?,
        jwt(
            "jwt-authn, value sources",
            json!({
                "providers": [provider],
                "rules": [{
                    "match": {"any": [
                        {"values": [{"source": "pathSegment:1", "exact": "admin"}]},
                        {"values": [{"source": "path", "exact": "/keys"}]},
                        {"values": [{"source": "host", "exact": "admin.example.com"}]},
                        {"not": {"any": [
                            {"not": {"values": [{"source": "method", "exact": "POST"}]}},
                            {"not": {"values": [{"source": "path", "exact": "/orders"}]}},
                        ]}},
                    ]},
                    "requires": role,
                }],
                "defaultRequire": {"none": true},
            }),
            "",
        )?,
        jwt(
            "jwt-authn, default: admin",
            json!({
                "providers": [provider],
                "rules": [{"match": open(), "requires": {"none": true}}],
                "defaultRequire": role,
            }),
            OPEN,
        )?,
        jwt(
            "jwt-authn, ambiguousPaths: allow",
            json!({
                "providers": [provider],
                "rules": [{"match": protected(), "requires": role}],
                "defaultRequire": {"none": true},
                "ambiguousPaths": "allow",
            }),
            "",
        )?,
        ext(
            "ext-auth, default: not asked",
            json!([{"match": protected()}, {"match": {}, "ask": false}]),
            "",
        )?,
        ext("ext-auth, default: asked", json!([{"match": open(), "ask": false}]), OPEN)?,
        plugin(
            "rate-limit",
            Kind::RateLimit,
            json!({"limits": [
                {"name": "admin", "match": protected(), "key": [], "requests": 1, "per": "24h"},
            ]}),
        )?,
        plugin(
            "path-rewrite",
            Kind::PathRewrite,
            json!({"rules": [
                {"name": "admin", "match": protected(), "respond": {"status": 403, "body": "Forbidden"}},
            ]}),
        )?,
    ])
}

fn token(role: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let claims = json!({
        "iss": "https://issuer.example.com",
        "sub": "mallory",
        "exp": now + 3600,
        "roles": [role],
    });
    signer::token("HS256", claims.to_string())
}

/// The filter that istiod makes of an AuthorizationPolicy with `action: DENY` for the protected resources.
fn rbac() -> Value {
    let path = |matcher: Value| json!({"url_path": {"path": matcher}});
    let header = |name: &str, matcher: Value| json!({"header": {"name": name, "string_match": matcher}});
    let permissions = [
        path(json!({"exact": "/admin"})),
        path(json!({"prefix": "/admin/"})),
        path(json!({"exact": "/keys"})),
        header(":authority", json!({"exact": "admin.example.com", "ignore_case": true})),
        header(":authority", json!({"prefix": "admin.example.com:", "ignore_case": true})),
        json!({"and_rules": {"rules": [
            header(":method", json!({"exact": "POST"})),
            path(json!({"exact": "/orders"})),
        ]}}),
    ];
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {
                "action": "DENY",
                "policies": {"protected": {"permissions": permissions, "principals": [{"any": true}]}},
            },
        },
    })
}
