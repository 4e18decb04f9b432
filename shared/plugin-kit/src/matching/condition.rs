//! `match` as a whole.

use std::borrow::Cow;

use crate::cidr::Cidr;
use crate::config::{At, ConfigError, quoted};
use crate::headers::HeaderName;
use crate::matching::path::{Captures, PathCondition, PathMatch, Spellings};
use crate::matching::text::{NamedMatch, SourceMatch, TextCondition};
use crate::pattern;
use crate::query;
use crate::request::Request;
use crate::source::Source;

/// Which requests something applies to. The keys are ANDed, the items of a list are ORed, an absent key is true.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Match {
    /// `:authority`, port and case ignored: `api.example.com`, or `*.example.com` for every name below it.
    pub hosts: Option<Vec<String>>,
    /// The method; upper and lower case are the same.
    pub methods: Option<Vec<String>>,
    /// The path, without query and fragment.
    pub paths: Option<Vec<PathMatch>>,
    /// Request headers.
    pub headers: Option<Vec<NamedMatch>>,
    /// Query parameters, decoded.
    pub query: Option<Vec<NamedMatch>>,
    /// Cookies.
    pub cookies: Option<Vec<NamedMatch>>,
    /// The client's address: networks.
    pub client_ips: Option<Vec<String>>,
    /// Any other value source.
    pub values: Option<Vec<SourceMatch>>,
    /// At least one of these matches.
    pub any: Option<Vec<Match>>,
    /// This does not match.
    pub not: Option<Box<Match>>,
}

crate::fields!(Match {
    "hosts" => hosts,
    "methods" => methods,
    "paths" => paths,
    "headers" => headers,
    "query" => query,
    "cookies" => cookies,
    "clientIps" => client_ips,
    "values" => values,
    "any" => any,
    "not" => not,
});

/// How deep `any` and `not` may nest.
const MAX_DEPTH: usize = 16;

/// A compiled [`Match`].
#[derive(Clone, Debug, Default)]
pub struct Condition {
    hosts: Option<Vec<Host>>,
    methods: Option<Vec<Vec<u8>>>,
    paths: Option<Vec<PathCondition>>,
    headers: Option<Vec<(HeaderName, TextCondition)>>,
    query: Option<Vec<(String, TextCondition)>>,
    cookies: Option<Vec<(String, TextCondition)>>,
    client_ips: Option<Vec<Cidr>>,
    values: Option<Vec<ValueCondition>>,
    any: Option<Vec<Condition>>,
    not: Option<Box<Condition>>,
}

#[derive(Clone, Debug)]
struct ValueCondition {
    source: Source,
    condition: TextCondition,
    /// `condition` with case ignored, for a source that is a part of the path.
    folded: Option<TextCondition>,
}

/// How conditions on path and host are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// As the request is written.
    AsWritten,
    /// All of them match, as some server may read the request.
    AllMatch,
    /// None of them matches.
    NoneMatches,
}

impl Reading {
    fn unless_fixed(self, evaluate: impl FnOnce() -> bool) -> bool {
        match self {
            Self::AsWritten => evaluate(),
            Self::AllMatch => true,
            Self::NoneMatches => false,
        }
    }

    /// Under a `not`, a condition that matches rules the request out.
    fn inverted(self) -> Self {
        match self {
            Self::AsWritten => Self::AsWritten,
            Self::AllMatch => Self::NoneMatches,
            Self::NoneMatches => Self::AllMatch,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Exact(Vec<u8>),
    /// With the dot: `.example.com`.
    Below(Vec<u8>),
    Every,
}

impl Match {
    /// Compiles the condition.
    ///
    /// # Errors
    /// Points at what is wrong, from the `match` on.
    pub fn compile(&self) -> Result<Condition, ConfigError> {
        self.compile_with(pattern::MAX_BYTES, Spellings::Checked)
    }

    /// [`Match::compile`] with a bound for the regular expressions of paths, and with or without a check of spellings.
    ///
    /// # Errors
    /// As [`Match::compile`].
    pub fn compile_with(
        &self,
        max_regex_bytes: usize,
        spellings: Spellings,
    ) -> Result<Condition, ConfigError> {
        self.compile_at(max_regex_bytes, spellings, 0)
    }

    fn compile_at(
        &self,
        max_regex_bytes: usize,
        spellings: Spellings,
        depth: usize,
    ) -> Result<Condition, ConfigError> {
        if depth > MAX_DEPTH {
            return Err(ConfigError::new(format!("nested more than {MAX_DEPTH} deep")));
        }
        let deeper = depth.saturating_add(1);
        let mut condition = Condition::default();
        list(&mut condition.hosts, "hosts", &self.hosts, |host| Host::new(host))?;
        list(&mut condition.methods, "methods", &self.methods, |method| compile_method(method))?;
        list(&mut condition.paths, "paths", &self.paths, |path| path.compile(max_regex_bytes, spellings))?;
        list(&mut condition.headers, "headers", &self.headers, |header| {
            Ok((HeaderName::new(&header.name).at("name")?, header.compile_operator()?))
        })?;
        named(&mut condition.query, "query", &self.query)?;
        named(&mut condition.cookies, "cookies", &self.cookies)?;
        list(&mut condition.client_ips, "clientIps", &self.client_ips, |network| Cidr::new(network))?;
        list(&mut condition.values, "values", &self.values, |value| {
            let source = Source::new(&value.source).at("source")?;
            let folds = spellings == Spellings::Checked && source.is_part_of_path() && !value.ignore_case;
            Ok(ValueCondition {
                condition: value.compile_operator()?,
                folded: if folds { Some(value.compile_with_case(true)?) } else { None },
                source,
            })
        })?;
        list(&mut condition.any, "any", &self.any, |one| one.compile_at(max_regex_bytes, spellings, deeper))?;
        if let Some(not) = &self.not {
            condition.not = Some(Box::new(not.compile_at(max_regex_bytes, spellings, deeper).at("not")?));
        }
        Ok(condition)
    }
}

/// Compiles the items of a list into their place. (Returned, each list would be taken apart again wherever a later one
/// is wrong: twice the code.)
#[inline(never)]
fn list<T, U>(
    place: &mut Option<Vec<U>>,
    field: &str,
    items: &Option<Vec<T>>,
    compile: impl Fn(&T) -> Result<U, ConfigError>,
) -> Result<(), ConfigError> {
    let Some(items) = items else { return Ok(()) };
    if items.is_empty() {
        return Err(ConfigError::new("is empty and would match nothing; leave it out to match everything"))
            .at(field);
    }
    let place = place.insert(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        place.push(compile(item).at_index(index).at(field)?);
    }
    Ok(())
}

#[inline(never)]
fn named(
    place: &mut Option<Vec<(String, TextCondition)>>,
    field: &str,
    items: &Option<Vec<NamedMatch>>,
) -> Result<(), ConfigError> {
    list(place, field, items, |item| Ok((item.name.clone(), item.compile_operator()?)))
}

fn compile_method(method: &str) -> Result<Vec<u8>, ConfigError> {
    if !crate::headers::is_token(method.as_bytes()) {
        return Err(ConfigError::new(format!("{} is not a method", quoted(method))));
    }
    Ok(method.to_ascii_uppercase().into_bytes())
}

impl Host {
    fn new(text: &str) -> Result<Self, ConfigError> {
        let lower = text.to_ascii_lowercase();
        let wrong = |reason: &str| Err(ConfigError::new(format!("{} {reason}", quoted(text))));
        if lower == "*" {
            return Ok(Self::Every);
        }
        let (below, name) = match lower.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, lower.as_str()),
        };
        if name.is_empty() || name.contains('*') {
            return wrong("is not a host: a name, *.name, or *");
        }
        if name.contains('/') || (name.contains(':') && !name.starts_with('[')) {
            return wrong("must be a host without scheme, port and path");
        }
        Ok(if below {
            Self::Below(format!(".{name}").into_bytes())
        } else {
            Self::Exact(name.as_bytes().to_vec())
        })
    }

    fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => host == name,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            Self::Every => true,
        }
    }
}

impl Condition {
    /// Whether the request matches.
    #[must_use]
    pub fn matches(&self, request: &Request) -> bool {
        self.matches_path(request, None)
    }

    /// Whether the request would match if its path were `path`; `None`: its own, read when it is needed.
    #[must_use]
    pub fn matches_path(&self, request: &Request, path: Option<&[u8]>) -> bool {
        self.evaluate(request, path, Reading::AsWritten)
    }

    /// Whether an ambiguous request matches in some reading: conditions on path and host are taken as true.
    #[must_use]
    pub fn may_match(&self, request: &Request) -> bool {
        self.evaluate(request, None, Reading::AllMatch)
    }

    /// Whether an ambiguous request matches in every reading: conditions on path and host are taken as false.
    #[must_use]
    pub fn must_match(&self, request: &Request) -> bool {
        self.evaluate(request, None, Reading::NoneMatches)
    }

    /// What the first path condition that matches caught, where the request would match if its path were `path`.
    #[must_use]
    pub fn capture(&self, request: &Request, path: Option<&[u8]>) -> Option<Captures> {
        let captures = match &self.paths {
            None => Captures::default(),
            Some(paths) => {
                let path = path.unwrap_or_else(|| request.path());
                paths.iter().find_map(|condition| condition.capture(path))?
            }
        };
        self.evaluate_rest(request, path, Reading::AsWritten).then_some(captures)
    }

    /// The names of the captures that there are whichever of the path conditions matches.
    #[must_use]
    pub fn capture_names(&self) -> Vec<String> {
        let mut paths = self.paths().iter();
        let Some(first) = paths.next() else { return Vec::new() };
        let mut names: Vec<String> = first.names().into_iter().map(Cow::into_owned).collect();
        for path in paths {
            let other = path.names();
            names.retain(|name| other.iter().any(|known| known == name));
        }
        names
    }

    fn evaluate(&self, request: &Request, path: Option<&[u8]>, reading: Reading) -> bool {
        let is_path = |condition: &PathCondition| {
            reading.unless_fixed(|| condition.matches(path.unwrap_or_else(|| request.path())))
        };
        any(&self.paths, is_path) && self.evaluate_rest(request, path, reading)
    }

    fn evaluate_rest(&self, request: &Request, path: Option<&[u8]>, reading: Reading) -> bool {
        any(&self.methods, |method| {
            request.header(":method").is_some_and(|seen| seen.eq_ignore_ascii_case(method))
        }) && any(&self.hosts, |host| reading.unless_fixed(|| host.matches(request.host())))
            && any(&self.query, |(name, condition)| {
                condition.holds(|is| {
                    query::parameters(request.query().unwrap_or_default())
                        .any(|parameter| *parameter.name() == *name.as_bytes() && is(&parameter.value()))
                })
            })
            && any(&self.headers, |(name, condition)| {
                let evaluate = || condition.holds(|is| request.any_header_line(name.as_str(), is));
                if name.is_host() { reading.unless_fixed(evaluate) } else { evaluate() }
            })
            && any(&self.cookies, |(name, condition)| condition.holds(|is| request.any_cookie(name, is)))
            && any(&self.client_ips, |network| request.client_ip().is_some_and(|ip| network.contains(ip)))
            && any(&self.values, |value| {
                let evaluate = || {
                    value.condition.holds(|is| match path.filter(|_| value.source.is_part_of_path()) {
                        Some(path) => value.source.part_of(path).is_some_and(is),
                        None => value.source.value(request).is_some_and(|value| is(&value)),
                    })
                };
                if value.source.is_target() { reading.unless_fixed(evaluate) } else { evaluate() }
            })
            && any(&self.any, |condition| condition.evaluate(request, path, reading))
            && self
                .not
                .as_ref()
                .is_none_or(|condition| !condition.evaluate(request, path, reading.inverted()))
    }

    /// Whether some condition on the path, of which there may be several at any depth, matches `path` only as another
    /// server may read it: with case ignored, or with escapes decoded as in `decoded`.
    pub(crate) fn matches_respelled(&self, path: &[u8], decoded: &[u8]) -> bool {
        let some = |respelled: &dyn Fn(&[u8]) -> bool| {
            // A server that looks for the query after it decoded the path sees a shorter one.
            let cut = query::split(decoded).0;
            respelled(path) || (decoded != path && (respelled(decoded) || respelled(cut)))
        };
        let is_path = |condition: &PathCondition| {
            !condition.matches(path) && some(&|reading| condition.matches_respelled(reading))
        };
        let is_value = |value: &ValueCondition| {
            let holds = |condition: &TextCondition, path: &[u8]| {
                condition.holds(|is| value.source.part_of(path).is_some_and(is))
            };
            let folded = value.folded.as_ref().unwrap_or(&value.condition);
            value.source.is_part_of_path()
                && !holds(&value.condition, path)
                && some(&|reading| holds(folded, reading))
        };
        self.paths().iter().any(is_path)
            || self.values.iter().flatten().any(is_value)
            || self.nested().any(|condition| condition.matches_respelled(path, decoded))
    }

    /// Whether path, host or method decide.
    #[must_use]
    pub fn reads_target(&self) -> bool {
        self.methods.is_some()
            || self.values.iter().flatten().any(|value| value.source == Source::Method)
            || self.reads_path()
            || self.reads_host()
            || self.nested().any(Self::reads_target)
    }

    /// Whether the path decides.
    #[must_use]
    pub fn reads_path(&self) -> bool {
        self.paths.is_some()
            || self.values.iter().flatten().any(|value| value.source.is_part_of_path())
            || self.nested().any(Self::reads_path)
    }

    /// Whether the host decides.
    #[must_use]
    pub fn reads_host(&self) -> bool {
        let is_host = |source: &Source| match source {
            Source::Host => true,
            Source::Header(name) => name.is_host(),
            _ => false,
        };
        self.hosts.is_some()
            || self.headers.iter().flatten().any(|(name, _)| name.is_host())
            || self.values.iter().flatten().any(|value| is_host(&value.source))
            || self.nested().any(Self::reads_host)
    }

    /// Whether the client's address decides.
    #[must_use]
    pub fn reads_client_ip(&self) -> bool {
        self.client_ips.is_some()
            || self.values.iter().flatten().any(|value| value.source == Source::ClientIp)
            || self.nested().any(Self::reads_client_ip)
    }

    /// Whether a trailing slash of the path may decide.
    #[must_use]
    pub fn minds_trailing_slash(&self) -> bool {
        self.paths().iter().any(PathCondition::minds_trailing_slash)
            || self.values.iter().flatten().any(|value| value.source.is_part_of_path())
            || self.nested().any(Self::minds_trailing_slash)
    }

    /// The conditions in `any` and `not`; as deep as [`MAX_DEPTH`].
    fn nested(&self) -> impl Iterator<Item = &Self> {
        self.any.iter().flatten().chain(self.not.as_deref())
    }

    /// Whether every request matches.
    #[must_use]
    pub fn is_always(&self) -> bool {
        let Self { hosts, methods, paths, headers, query, cookies, client_ips, values, any, not } = self;
        let request_line = hosts.is_none() && methods.is_none() && paths.is_none() && query.is_none();
        let fields = headers.is_none() && cookies.is_none() && client_ips.is_none() && values.is_none();
        request_line && fields && any.is_none() && not.is_none()
    }

    /// The conditions on the path, of which one must hold; none at all is no condition.
    #[must_use]
    pub fn paths(&self) -> &[PathCondition] {
        self.paths.as_deref().unwrap_or_default()
    }
}

fn any<T>(items: &Option<Vec<T>>, matches: impl FnMut(&T) -> bool) -> bool {
    items.as_ref().is_none_or(|items| items.iter().any(matches))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::detached(&[
            (":method", b"GET"),
            (":path", b"/api/x?debug&v=2"),
            (":authority", b"API.example.com:8443"),
            ("x-env", b"prod"),
            ("x-env", b"test"),
            ("cookie", b"uid=91"),
        ])
        .with_property("source.address", b"10.1.2.3:4711")
        .with_property("xds.node.metadata.LABELS.version", b"v2")
    }

    fn matches(json: &str) -> bool {
        serde_json::from_str::<Match>(json).unwrap().compile().unwrap().matches(&request())
    }

    #[test]
    fn each_key_is_a_condition() {
        for (json, expected) in [
            (r#"{}"#, true),
            (r#"{"hosts":["api.example.com"]}"#, true),
            (r#"{"hosts":["*.example.com"]}"#, true),
            (r#"{"hosts":["*.com"]}"#, true),
            (r#"{"hosts":["*"]}"#, true),
            (r#"{"hosts":["example.com"]}"#, false),
            (r#"{"hosts":["*.api.example.com"]}"#, false),
            (r#"{"methods":["GET","POST"]}"#, true),
            (r#"{"methods":["POST"]}"#, false),
            (r#"{"paths":[{"prefix":"/api"},{"exact":"/"}]}"#, true),
            (r#"{"paths":[{"exact":"/api"}]}"#, false),
            (r#"{"headers":[{"name":"X-Env","oneOf":["test","stage"]}]}"#, true),
            (r#"{"headers":[{"name":"x-env","exact":"test","invert":true}]}"#, false),
            (r#"{"headers":[{"name":"x-none","present":false}]}"#, true),
            (r#"{"query":[{"name":"debug","present":true}]}"#, true),
            (r#"{"query":[{"name":"v","exact":"3"}]}"#, false),
            (r#"{"cookies":[{"name":"uid","regex":"^9"}]}"#, true),
            (r#"{"clientIps":["10.0.0.0/8","2001:db8::/32"]}"#, true),
            (r#"{"clientIps":["192.168.0.0/16"]}"#, false),
            (r#"{"values":[{"source":"property:xds.node.metadata.LABELS.version","exact":"v2"}]}"#, true),
            (r#"{"values":[{"source":"header:x-none","present":false}]}"#, true),
            (r#"{"any":[{"methods":["POST"]},{"methods":["GET"]}]}"#, true),
            (r#"{"any":[{"methods":["POST"]}]}"#, false),
            (r#"{"not":{"methods":["POST"]}}"#, true),
            (r#"{"not":{}}"#, false),
            (r#"{"methods":["GET"],"hosts":["other"]}"#, false),
        ] {
            assert_eq!(matches(json), expected, "{json}");
        }
    }

    #[test]
    fn a_condition_says_which_parts_of_the_target_decide() {
        for (json, path, host, target) in [
            (r#"{"methods":["GET"]}"#, false, false, true),
            (r#"{"paths":[{"exact":"/"}]}"#, true, false, true),
            (r#"{"hosts":["a"]}"#, false, true, true),
            (r#"{"headers":[{"name":"Host","exact":"a"}]}"#, false, true, true),
            (r#"{"headers":[{"name":"x-a","exact":"a"}]}"#, false, false, false),
            (r#"{"values":[{"source":"pathSegment:1","exact":"a"}]}"#, true, false, true),
            (r#"{"values":[{"source":"header:host","exact":"a"}]}"#, false, true, true),
            (r#"{"values":[{"source":"host","exact":"a"}]}"#, false, true, true),
            (r#"{"values":[{"source":"method","exact":"GET"}]}"#, false, false, true),
            (r#"{"any":[{"not":{"paths":[{"exact":"/"}]}}]}"#, true, false, true),
            (r#"{"query":[{"name":"a","exact":"a"}]}"#, false, false, false),
        ] {
            let condition = serde_json::from_str::<Match>(json).unwrap().compile().unwrap();
            let read = (condition.reads_path(), condition.reads_host(), condition.reads_target());
            assert_eq!(read, (path, host, target), "{json}");
        }
    }

    #[test]
    fn captures_are_those_of_every_path() {
        let names =
            |json: &str| serde_json::from_str::<Match>(json).unwrap().compile().unwrap().capture_names();
        assert_eq!(names(r#"{"paths":[{"template":"/{a}/{b}"},{"template":"/x/{a}"}]}"#), ["a"]);
        assert!(names(r#"{"paths":[{"template":"/{a}"},{"exact":"/"}]}"#).is_empty());
        assert!(names("{}").is_empty());
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        for (json, message) in [
            (r#"{"paths":[{"exact":"/a"},{"prefix":"b"}]}"#, "paths[1].prefix: \"b\" must start with '/'"),
            (r#"{"hosts":["a:80"]}"#, "hosts[0]: \"a:80\" must be a host without scheme, port and path"),
            (r#"{"hosts":["a.*"]}"#, "hosts[0]: \"a.*\" is not a host: a name, *.name, or *"),
            (
                r#"{"methods":[]}"#,
                "methods: is empty and would match nothing; leave it out to match everything",
            ),
            (r#"{"methods":["GET "]}"#, "methods[0]: \"GET \" is not a method"),
            (
                r#"{"headers":[{"name":"a b","present":true}]}"#,
                "headers[0].name: \"a b\" is not the name of a header",
            ),
            (
                r#"{"any":[{},{"not":{"clientIps":["x"]}}]}"#,
                "any[1].not.clientIps[0]: \"x\" is not a network such as 10.0.0.0/8 or 2001:db8::/32",
            ),
        ] {
            let failed = serde_json::from_str::<Match>(json).unwrap().compile().unwrap_err();
            assert_eq!(failed.to_string(), message);
        }
    }
}
