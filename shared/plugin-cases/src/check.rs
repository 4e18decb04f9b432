//! Comparing what happened with what was expected.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;

use crate::model::{Body, Case, Expected, ExpectedRequest, Header, Host};

/// What the upstream saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenRequest {
    /// The method.
    pub method: String,
    /// With the query.
    pub path: String,
    /// `:authority`, on HTTP/1.1 `host`.
    pub authority: String,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// Trailer lines in order, names in lower case.
    pub trailers: Vec<(String, Vec<u8>)>,
}

/// What the client got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenResponse {
    /// The HTTP status.
    pub status: u16,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a service saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenCall {
    /// Its cluster.
    pub cluster: String,
    /// What it was asked.
    pub request: SeenRequest,
}

/// One request's way through the proxy and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// What the upstream saw; `None` where it was not reached.
    pub upstream: Option<SeenRequest>,
    /// What the client got.
    pub response: SeenResponse,
    /// What the plugin asked meanwhile.
    pub calls: Vec<SeenCall>,
}

/// A case that did not go as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The case's name.
    pub case: String,
    /// Each difference, readable.
    pub differences: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "✗ {}", self.case)?;
        self.differences.iter().try_for_each(|difference| write!(formatter, "\n    {difference}"))
    }
}

impl Case {
    /// Compares an exchange with the expectations.
    ///
    /// # Errors
    /// Every difference, in one [`Failure`].
    pub fn check(&self, seen: &Exchange) -> Result<(), Failure> {
        let mut differences = Vec::new();
        match (&self.reply, &seen.upstream) {
            (Some(_), Some(upstream)) => {
                differences.push(format!("the upstream was reached: {} {}", upstream.method, upstream.path));
            }
            (None, None) => differences.push(format!(
                "the upstream was not reached; the client got {} {:?}",
                seen.response.status,
                String::from_utf8_lossy(&seen.response.body)
            )),
            _ => {}
        }
        self.check_calls(&seen.calls, &mut differences);
        let upstream = seen.upstream.as_ref();
        if let (Some(expected), Some(upstream)) = (&self.upstream, upstream) {
            check_request("upstream", expected, upstream, &mut differences);
        }
        if let Some(expected) = self.response.as_ref().or(self.reply.as_ref()) {
            let headers = upstream.map(|upstream| upstream.headers.as_slice());
            check_response(expected, &seen.response, headers.unwrap_or_default(), &mut differences);
        }
        if differences.is_empty() { Ok(()) } else { Err(Failure { case: self.name.clone(), differences }) }
    }

    fn check_calls(&self, seen: &[SeenCall], differences: &mut Vec<String>) {
        let mut seen: Vec<&SeenCall> = seen.iter().collect();
        for expected in &self.calls {
            let side = format!("call of {}", expected.cluster);
            match seen.iter().position(|call| call.cluster == expected.cluster) {
                Some(index) => {
                    check_request(&side, &expected.request, &seen.remove(index).request, differences);
                }
                None => differences.push(format!("{side}: there was none")),
            }
        }
        for SeenCall { cluster, request } in seen {
            differences.push(format!("call of {cluster}: unexpected: {} {}", request.method, request.path));
        }
    }

    /// Sends the request as often as the case says, and stops at the first failure. `None`: not for this host.
    ///
    /// # Errors
    /// A [`Failure`]; an exchange that could not be made is one too.
    pub fn run(
        &self,
        host: Host,
        mut exchange: impl FnMut(&Case) -> anyhow::Result<Exchange>,
    ) -> Option<Result<(), Failure>> {
        if !self.runs_in(host) {
            return None;
        }
        Some((0..self.times).try_for_each(|_| match exchange(self) {
            Ok(seen) => self.check(&seen),
            Err(error) => Err(Failure { case: self.name.clone(), differences: vec![format!("{error:#}")] }),
        }))
    }
}

fn check_request(side: &str, expected: &ExpectedRequest, seen: &SeenRequest, differences: &mut Vec<String>) {
    let mut equal = |what: &str, expected: &Option<String>, seen: &str| {
        if let Some(expected) = expected
            && expected != seen
        {
            differences.push(format!("{side} {what}: expected {expected:?}, saw {seen:?}"));
        }
    };
    equal("method", &expected.method, &seen.method);
    equal("path", &expected.path, &seen.path);
    equal("authority", &expected.authority, &seen.authority);
    check_body(&format!("{side} body"), expected.body.as_ref(), &seen.body, differences);
    check_headers(side, &expected.headers, &expected.absent, &seen.headers, &[], differences);
}

fn check_response(
    expected: &Expected,
    seen: &SeenResponse,
    upstream: &[(String, Vec<u8>)],
    differences: &mut Vec<String>,
) {
    if let Some(status) = expected.status
        && status != seen.status
    {
        differences.push(format!("status: expected {status}, got {}", seen.status));
    }
    check_body("body", expected.body.as_ref(), &seen.body, differences);
    check_headers("response", &expected.headers, &expected.absent, &seen.headers, upstream, differences);
}

fn check_body(what: &str, expected: Option<&Body>, seen: &[u8], differences: &mut Vec<String>) {
    let text = String::from_utf8_lossy(seen);
    let (as_expected, wanted) = match expected {
        None => return,
        Some(Body::Exact(body)) => (body.as_bytes() == seen, format!("{body:?}")),
        Some(Body::Regex { regex }) => (
            Regex::new(regex).is_ok_and(|regex| regex.is_match(&text)),
            format!("one that matches {regex:?}"),
        ),
    };
    if !as_expected {
        differences.push(format!("{what}: expected {wanted}, saw {text:?}"));
    }
}

fn check_headers(
    side: &str,
    expected: &BTreeMap<String, Header>,
    absent: &[String],
    seen: &[(String, Vec<u8>)],
    upstream: &[(String, Vec<u8>)],
    differences: &mut Vec<String>,
) {
    for (name, header) in expected {
        let lines = lines(seen, name);
        let as_expected = match header {
            Header::One(value) => lines == [value.as_bytes()],
            Header::Many(values) => lines.iter().copied().eq(values.iter().map(String::as_bytes)),
            Header::Regex { regex } => match (Regex::new(regex), lines.as_slice()) {
                (Ok(regex), [line]) => regex.is_match(&String::from_utf8_lossy(line)),
                _ => false,
            },
            Header::SameAsUpstream { .. } => !lines.is_empty() && lines == self::lines(upstream, name),
        };
        if !as_expected {
            differences.push(format!(
                "{side} header {name}: expected {}, saw {}",
                wanted(header),
                shown(&lines)
            ));
        }
    }
    for name in absent {
        let lines = lines(seen, name);
        if !lines.is_empty() {
            differences.push(format!("{side} header {name}: must be absent, saw {}", shown(&lines)));
        }
    }
}

fn lines<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    headers
        .iter()
        .filter(|(seen, _)| seen.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_slice())
        .collect()
}

fn shown(lines: &[&[u8]]) -> String {
    if lines.is_empty() {
        return "none".into();
    }
    lines.iter().map(|line| format!("{:?}", String::from_utf8_lossy(line))).collect::<Vec<_>>().join(", ")
}

fn wanted(header: &Header) -> String {
    match header {
        Header::One(value) => format!("{value:?}"),
        Header::Many(values) => format!("{values:?}"),
        Header::Regex { regex } => format!("one line that matches {regex:?}"),
        Header::SameAsUpstream { .. } => "what the upstream saw".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(yaml: &str) -> Case {
        serde_norway::from_str(yaml).unwrap()
    }

    fn exchange(upstream: bool) -> Exchange {
        let trace = ("x-trace-id".to_owned(), b"abc".to_vec());
        Exchange {
            upstream: upstream.then(|| SeenRequest {
                method: "GET".into(),
                path: "/a".into(),
                headers: vec![trace.clone()],
                ..SeenRequest::default()
            }),
            response: SeenResponse { status: 200, headers: vec![trace], body: b"ok".to_vec() },
            calls: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_mentioned_is_not_compared() {
        assert_eq!(case("{name: n, upstream: {path: /a}}").check(&exchange(true)), Ok(()));
    }

    #[test]
    fn every_difference_is_reported() {
        let case = case(
            "{name: n, upstream: {path: /b, absent: [x-trace-id]}, response: {status: 404, headers: {x-a: '1'}}}",
        );
        assert_eq!(
            case.check(&exchange(true)).unwrap_err().differences,
            [
                "upstream path: expected \"/b\", saw \"/a\"",
                "upstream header x-trace-id: must be absent, saw \"abc\"",
                "status: expected 404, got 200",
                "response header x-a: expected \"1\", saw none",
            ]
        );
    }

    #[test]
    fn calls_are_those_of_the_case_and_no_others() {
        let case = case(
            "{name: n, upstream: {}, calls: [{cluster: a, request: {path: /1}}, {cluster: a}, {cluster: b}]}",
        );
        let call = |cluster: &str| {
            let request = SeenRequest { method: "GET".into(), path: "/".into(), ..SeenRequest::default() };
            SeenCall { cluster: cluster.into(), request }
        };
        let mut seen = exchange(true);
        seen.calls = vec![call("a"), call("a"), call("a")];
        assert_eq!(
            case.check(&seen).unwrap_err().differences,
            [
                "call of a path: expected \"/1\", saw \"/\"",
                "call of b: there was none",
                "call of a: unexpected: GET /",
            ]
        );
    }

    #[test]
    fn a_body_is_compared_or_matched() {
        let check =
            |body: &str| case(&format!("{{name: n, response: {{body: {body}}}}}")).check(&exchange(true));
        assert_eq!(check("ok"), Ok(()));
        assert_eq!(check("{regex: '^o'}"), Ok(()));
        assert_eq!(
            check("{regex: '^k'}").unwrap_err().differences,
            ["body: expected one that matches \"^k\", saw \"ok\""]
        );
    }

    #[test]
    fn a_reply_must_not_reach_the_upstream() {
        let case = case("{name: n, reply: {status: 200}}");
        assert_eq!(case.check(&exchange(false)), Ok(()));
        assert_eq!(
            case.check(&exchange(true)).unwrap_err().differences,
            ["the upstream was reached: GET /a"]
        );
    }

    #[test]
    fn a_header_can_be_matched_or_compared_with_the_upstreams() {
        let case = case(
            "{name: n, upstream: {headers: {x-trace-id: {regex: '^[a-c]+$'}}}, response: {headers: {x-trace-id: {sameAsUpstream: true}}}}",
        );
        assert_eq!(case.check(&exchange(true)), Ok(()));
    }
}
