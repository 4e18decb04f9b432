//! The calls to the service, and the keys of their responses.

use std::net::IpAddr;
use std::time::Duration;

use plugin_kit::callout::{HttpCall, Token, authority_of};
use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::{HeaderName, is_clean};
use plugin_kit::hostcalls::{Bytes, HostResult};
use plugin_kit::matching::{Ambiguity, Captures, ambiguity};
use plugin_kit::pairs::Pairs;
use plugin_kit::request::Request;
use plugin_kit::source::Source;
use plugin_kit::template::{Syntax, Template};

use crate::config::{self, KeyPart};
use crate::key::{Key, Keys};

const TIMEOUT: Duration = Duration::from_millis(300);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const ALL_PARTS: [KeyPart; 6] =
    [KeyPart::Method, KeyPart::Scheme, KeyPart::Host, KeyPart::Path, KeyPart::Query, KeyPart::ClientIp];

/// The headers that `forwardAuth` writes.
const METHOD: &str = "x-forwarded-method";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
const URI: &str = "x-forwarded-uri";
const FOR: &str = "x-forwarded-for";
const ORIGINAL_METHOD: &str = "x-original-method";
const ORIGINAL_URL: &str = "x-original-url";

/// The service, and how calls to it are made.
#[derive(Debug)]
pub struct Service {
    cluster: String,
    /// `None`: the authority of the request.
    authority: Option<String>,
    form: Form,
    /// The timeout of a call. A request waits as long for the calls of others.
    pub timeout: Duration,
    headers: Vec<Header>,
    /// If responses are cached.
    keys: Option<(Keys, Vec<KeyPart>)>,
}

#[derive(Debug)]
enum Form {
    /// A `GET` of this path.
    ForwardAuth(String),
    /// The request's own path behind this one.
    PathPrefix(String),
}

/// A header that the service gets.
#[derive(Debug)]
struct Header {
    name: HeaderName,
    /// `None`: every line of the request.
    value: Option<Template>,
    /// Whether it is a part of the key.
    matters: bool,
}

/// The call for one request.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    method: Bytes,
    path: Bytes,
    authority: Bytes,
    headers: Vec<(HeaderName, Bytes)>,
    /// The key of the response; `None` if responses are not cached.
    pub key: Option<Key>,
}

/// Why the service is not called for a request, which is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Servers read the request differently.
    Ambiguous(Ambiguity),
    /// The call cannot describe it.
    Malformed,
}

impl Service {
    /// Compiles the service; `raw` is the text of the whole configuration.
    ///
    /// # Errors
    /// Points at what is wrong.
    pub fn compile(
        service: &config::Service,
        cache: Option<&config::Cache>,
        raw: &[u8],
    ) -> Result<Self, ConfigError> {
        if service.cluster.is_empty() {
            return Err(ConfigError::new("is empty")).at("cluster").at("service");
        }
        if !is_clean(service.authority.as_bytes()) {
            return Err(ConfigError::new("must not contain control characters"))
                .at("authority")
                .at("service");
        }
        let timeout = service.timeout.map_or(TIMEOUT, |timeout| timeout.0);
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err(ConfigError::new("must be from 1ms to 60s")).at("timeout").at("service");
        }
        let form = Form::compile(service).at("service")?;
        let own = (!service.authority.is_empty()).then(|| service.authority.clone());
        let authority = match form {
            Form::ForwardAuth(_) => Some(own.unwrap_or_else(|| authority_of(&service.cluster))),
            Form::PathPrefix(_) => own,
        };
        let mut compiled = Self {
            cluster: service.cluster.clone(),
            authority,
            form,
            timeout,
            headers: Vec::new(),
            keys: cache
                .map(|cache| (Keys::new(raw), cache.key.clone().unwrap_or_else(|| ALL_PARTS.to_vec()))),
        };
        compiled.compile_headers(service).at("service")?;
        if let Some(cache) = cache {
            compiled.ignore(&cache.ignore_headers).at("ignoreHeaders").at("cache")?;
        }
        Ok(compiled)
    }

    fn compile_headers(&mut self, service: &config::Service) -> Result<(), ConfigError> {
        let default = [String::from("authorization")];
        let names = service.request_headers.as_deref().unwrap_or(&default);
        for (index, name) in names.iter().enumerate() {
            let name = self.new_name(name).at_index(index).at("requestHeaders")?;
            self.headers.push(Header { name, value: None, matters: true });
        }
        for (header, value) in service.set_headers.iter() {
            let name = self.new_name(header).at(header).at("setHeaders")?;
            let value = Template::new::<&str>(value, &[], Syntax::Plain).at(header).at("setHeaders")?;
            self.headers.push(Header { name, value: Some(value), matters: true });
        }
        Ok(())
    }

    /// Checks that the service does not get a header of this name already.
    fn new_name(&self, name: &str) -> Result<HeaderName, ConfigError> {
        let name = HeaderName::writable(name)?;
        let written = [METHOD, PROTO, HOST, URI, FOR, ORIGINAL_METHOD, ORIGINAL_URL];
        let is_written = matches!(self.form, Form::ForwardAuth(_)) && written.contains(&name.as_str());
        if is_written || self.headers.iter().any(|known| known.name == name) {
            return Err(ConfigError::new(format!("the service gets {} already", quoted(name.as_str()))));
        }
        Ok(name)
    }

    fn ignore(&mut self, names: &[String]) -> Result<(), ConfigError> {
        for (index, name) in names.iter().enumerate() {
            let ignored = HeaderName::new(name).at_index(index)?;
            let Some(header) = self.headers.iter_mut().find(|header| header.name == ignored) else {
                let message = format!("the service does not get {}", quoted(ignored.as_str()));
                return Err(ConfigError::new(message)).at_index(index);
            };
            header.matters = false;
        }
        Ok(())
    }

    /// The call for this request.
    ///
    /// `received` has the headers as the client sent them. Only those in `requestHeaders` are taken from there: the
    /// service may replace the credentials that it is asked to check, and everything else must not depend on a header
    /// that only the service may set.
    ///
    /// # Errors
    /// If the service would understand the request in another way than other servers. With `pathPrefix` that is every
    /// ambiguous path, as it could leave the prefix.
    pub fn check(&self, request: &Request, received: &Pairs) -> Result<CheckRequest, Refusal> {
        let pseudo = |name: &str| request.header(name).map(|value| value.to_vec()).unwrap_or_default();
        let host = pseudo(":authority");
        let mut check = CheckRequest {
            method: b"GET".to_vec(),
            path: Bytes::new(),
            authority: self.authority.as_ref().map_or_else(|| host.clone(), |own| own.clone().into_bytes()),
            headers: Vec::new(),
            key: None,
        };
        match &self.form {
            Form::ForwardAuth(path) => {
                check.path = path.clone().into_bytes();
                check.describe(request, &host);
            }
            Form::PathPrefix(prefix) => {
                if let Some(ambiguity) = ambiguity::of_target(request.target()) {
                    return Err(Refusal::Ambiguous(ambiguity));
                }
                let is_visible = |byte: &u8| *byte > b' ' && *byte != 0x7f;
                if !request.path().starts_with(b"/") || !request.target().iter().all(is_visible) {
                    return Err(Refusal::Malformed);
                }
                check.method = pseudo(":method");
                check.path = [prefix.as_bytes(), request.target()].concat();
            }
        }
        let mut key = self.keys.as_ref().map(|(keys, parts)| {
            let mut key = keys.start();
            parts.iter().for_each(|part| key.part(part_of(*part, request, &host).as_deref()));
            key
        });
        for Header { name, value, matters } in &self.headers {
            let values: Vec<Bytes> = match value {
                Some(template) => vec![template.fill(request, &Captures::default())],
                None => lines_of(received, name.as_str()),
            };
            if *matters && let Some(key) = &mut key {
                key.lines(&values);
            }
            let wanted = values.into_iter().filter(|line| value.is_none() || !line.is_empty());
            check.headers.extend(wanted.map(|line| (name.clone(), line)));
        }
        check.key = key.map(Keys::finish);
        if check.is_clean() { Ok(check) } else { Err(Refusal::Malformed) }
    }

    /// Whether the client's address is a part of the call, or of the key of its response.
    #[must_use]
    pub fn reads_client_ip(&self) -> bool {
        let mut templates = self.headers.iter().filter_map(|header| header.value.as_ref());
        matches!(self.form, Form::ForwardAuth(_))
            || self.keys.as_ref().is_some_and(|(_, parts)| parts.contains(&KeyPart::ClientIp))
            || templates.any(|template| template.sources().any(|source| *source == Source::ClientIp))
    }

    /// Calls the service.
    ///
    /// # Errors
    /// The host's, where the call cannot be made. There will be no response then.
    pub fn call(&self, check: &CheckRequest) -> HostResult<Token> {
        let headers: Vec<(&str, &[u8])> =
            check.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let call = HttpCall {
            cluster: &self.cluster,
            method: &check.method,
            path: &check.path,
            authority: &check.authority,
            headers: &headers,
            body: None,
            timeout: self.timeout,
        };
        call.dispatch()
    }
}

impl Form {
    fn compile(service: &config::Service) -> Result<Self, ConfigError> {
        let (field, path, form): (_, _, fn(String) -> Self) =
            match (&service.forward_auth, &service.path_prefix) {
                (Some(forward), None) => ("path", &forward.path, Self::ForwardAuth),
                (None, Some(prefix)) => ("pathPrefix", prefix, Self::PathPrefix),
                _ => return Err(ConfigError::new("needs exactly one of forwardAuth, pathPrefix")),
            };
        let is_path =
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let checked = match (is_path, field) {
            (false, _) => Err(ConfigError::new(format!("{} is not a path such as /verify", quoted(path)))),
            (true, "pathPrefix") if path.ends_with('/') || path.contains('?') => {
                Err(ConfigError::new(format!("{} must have no query and no / at its end", quoted(path))))
            }
            _ => Ok(form(path.clone())),
        };
        match field {
            "path" => checked.at(field).at("forwardAuth"),
            _ => checked.at(field),
        }
    }
}

fn lines_of(headers: &Pairs, name: &str) -> Vec<Bytes> {
    let lines = headers.iter().filter(|(seen, _)| *seen == name.as_bytes());
    lines.map(|(_, value)| value.to_vec()).collect()
}

fn part_of(part: KeyPart, request: &Request, host: &[u8]) -> Option<Bytes> {
    match part {
        KeyPart::Method => request.header(":method").map(|method| method.to_vec()),
        KeyPart::Scheme => request.header(":scheme").map(|scheme| scheme.to_vec()),
        KeyPart::Host => Some(host.to_vec()),
        KeyPart::Path => Some(request.path().to_vec()),
        // With its `?`, so that an empty query differs from none, and with a fragment.
        KeyPart::Query => request.target().get(request.path().len()..).map(<[u8]>::to_vec),
        KeyPart::ClientIp => request.client_ip().map(octets),
    }
}

fn octets(address: IpAddr) -> Bytes {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

impl CheckRequest {
    /// Adds the headers that describe the request.
    fn describe(&mut self, request: &Request, host: &[u8]) {
        let pseudo = |name: &str| request.header(name).map(|value| value.to_vec()).unwrap_or_default();
        let (method, scheme) = (pseudo(":method"), pseudo(":scheme"));
        let url = [&scheme, &b"://"[..], host, request.target()].concat();
        for (name, value) in [
            (METHOD, method.clone()),
            (PROTO, scheme),
            (HOST, host.to_vec()),
            (URI, request.target().to_vec()),
            (FOR, request.client_ip().map(|address| address.to_string().into_bytes()).unwrap_or_default()),
            (ORIGINAL_METHOD, method),
            (ORIGINAL_URL, url),
        ] {
            if !value.is_empty()
                && let Ok(name) = HeaderName::new(name)
            {
                self.headers.push((name, value));
            }
        }
    }

    fn is_clean(&self) -> bool {
        let values = [&self.method, &self.path, &self.authority];
        values.into_iter().chain(self.headers.iter().map(|(_, value)| value)).all(|value| is_clean(value))
    }
}
