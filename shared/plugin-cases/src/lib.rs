//! The vocabulary of `tests/cases.yaml` and `tests/tour.yaml`: a request, what the upstream must see of it, and what
//! the client must get back. The testkit runs the cases natively and `ci/e2e` runs the same ones in Envoy.
//!
//! ```yaml
//! - config: {header: x-a, value: "1"}      # absent: the plugin's example.yaml
//!   env: {REGION: eu}                      # vmConfig.env
//!   cases:                                 # in order, on one instance of the plugin
//!   - name: a header is added
//!     request: {method: GET, path: /a?b=c, authority: shop.example.com, headers: {x-b: [two, lines]}, body: "", from: 127.0.0.2}
//!     calls: [{cluster: authz, request: {path: /verify}, answer: {status: 200}}]    # what the plugin asks meanwhile
//!     upstream: {path: /a?b=c, headers: {x-a: "1"}, absent: [x-c]}       # it reaches the upstream like this
//!     answer: {status: 302, headers: {location: /x}, body: moved}        # what the upstream answers; 200 when absent
//!     response: {status: 302, headers: {location: {regex: "^/"}}, body: {regex: mov}}   # what the client gets
//!     times: 3                                                           # the same three times
//!   - name: a bot is turned away
//!     request: {headers: {user-agent: bot}}
//!     reply: {status: 403, body: Forbidden}                              # the plugin answers, the upstream sees nothing
//! ```

mod check;
mod model;

pub use check::{Exchange, Failure, SeenCall, SeenRequest, SeenResponse};
pub use model::{
    Answer, Body, Call, Case, Expected, ExpectedRequest, Group, Header, Headers, Host, Only, Request, load,
    load_tour,
};

/// The node metadata that both hosts give to plugins (`property:xds.node.metadata.…`).
pub const NODE_METADATA: &str =
    r#"{"NAMESPACE":"demo","LABELS":{"app":"shop","version":"v2","lane":"blue"}}"#;
