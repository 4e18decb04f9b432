//! `claim:` sources: claims that an earlier filter verified.

use crate::config::Node;
use crate::hostcalls::Bytes;
use crate::request::Request;

/// The filter state in which jwt-authn leaves the payload of the token it verified, as JSON.
pub const PAYLOAD: &str = "jwt_authn.payload";

/// A claim as text: of jwt-authn's payload, else of the dynamic metadata of Envoy's own `jwt_authn`.
///
/// A list becomes its items joined by commas; an object is no text.
#[must_use]
pub fn get(request: &Request, path: &[String]) -> Option<Bytes> {
    if let Some(payload) = request.property(&[PAYLOAD]) {
        return text(Node::parse(&payload).ok()?.find(path)?);
    }
    // Istio keeps the payload under the key `payload` of the filter's metadata.
    let metadata = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "payload"];
    let whole: Vec<&str> = metadata.into_iter().chain(path.iter().map(String::as_str)).collect();
    request.property(&whole)
}

fn text(claim: &Node) -> Option<Bytes> {
    match claim {
        Node::Text(text) => Some(text.clone().into_bytes()),
        Node::Bool(value) => Some(value.to_string().into_bytes()),
        Node::Unsigned(number) => Some(number.to_string().into_bytes()),
        Node::Signed(number) => Some(number.to_string().into_bytes()),
        Node::List(items) => {
            let items: Option<Vec<Bytes>> = items.iter().map(text).collect();
            Some(items?.join(&b','))
        }
        Node::Null | Node::Fraction(_) | Node::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(request: &Request, path: &str) -> Option<String> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        get(request, &path).map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn reads_the_payload_that_jwt_authn_verified() {
        let payload =
            br#"{"sub":"alice","age":7,"admin":true,"roles":["a","b"],"realm":{"name":"r"},"ratio":0.5}"#;
        let request = Request::detached(&[]).with_property(PAYLOAD, payload);
        for (path, value) in
            [("sub", "alice"), ("age", "7"), ("admin", "true"), ("roles", "a,b"), ("realm.name", "r")]
        {
            assert_eq!(claim(&request, path).as_deref(), Some(value), "{path}");
        }
        for path in ["none", "realm", "ratio", "sub.x"] {
            assert_eq!(claim(&request, path), None, "{path}");
        }
    }

    #[test]
    fn reads_the_metadata_of_envoys_own_filter() {
        let request = Request::detached(&[])
            .with_property("metadata.filter_metadata.envoy.filters.http.jwt_authn.payload.sub", b"bob");
        assert_eq!(claim(&request, "sub").as_deref(), Some("bob"));
    }
}
