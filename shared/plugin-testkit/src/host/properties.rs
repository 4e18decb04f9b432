//! Properties: Envoy's attributes, each in the phases in which it exists.

use proxy_wasm::types::Status;
use serde_json::Value;

use super::clock::nanos;
use super::headers::write_pairs;
use super::replies::grpc_status;
use super::{Host, HostResult, StreamState};

/// The address of the listener.
const LISTENER: &str = "127.0.0.1:8080";

/// What is serialized into a property.
enum Attribute {
    Text(Vec<u8>),
    /// Integers, timestamps and durations.
    Number(u64),
    Flag(bool),
    /// It exists and cannot be serialized.
    Opaque,
}

impl Attribute {
    fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Text(text.as_ref().to_vec())
    }

    fn serialized(self) -> HostResult<Vec<u8>> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Number(number) => Ok(number.to_le_bytes().to_vec()),
            Self::Flag(flag) => Ok(vec![u8::from(flag)]),
            Self::Opaque => Err(Status::SerializationFailure),
        }
    }
}

/// The path as the ABI has it.
pub(crate) fn joined(path: &[&str]) -> Vec<u8> {
    path.join("\0").into_bytes()
}

impl Host {
    pub(crate) fn property(&mut self, path: &[u8]) -> HostResult<Vec<u8>> {
        let text = String::from_utf8_lossy(path).into_owned();
        self.trace(format!("property {}", text.replace('\0', ".")));
        let stream = self.effective_stream();
        let said =
            stream.and_then(|stream| stream.properties.get(path)).or_else(|| self.properties.get(path));
        if let Some(value) = said {
            return Ok(value.clone());
        }
        let segments: Vec<&str> = text.split('\0').collect();
        let attribute = match segments.as_slice() {
            ["plugin_name"] => Some(Attribute::text("demo.plugin")),
            ["plugin_root_id" | "plugin_vm_id"] => Some(Attribute::text("")),
            ["xds", "listener_direction"] => Some(Attribute::Number(1)),
            ["xds", "node", "id"] => {
                Some(Attribute::text("sidecar~127.0.0.1~shop.demo~demo.svc.cluster.local"))
            }
            ["xds", "node", "cluster"] => Some(Attribute::text("shop.demo")),
            ["xds", "node", "metadata", field @ ..] => return node_metadata(field).ok_or(Status::NotFound),
            segments => match stream {
                Some(stream) => self.of_stream(stream, segments),
                None => None,
            },
        };
        attribute.ok_or(Status::NotFound)?.serialized()
    }

    fn of_stream(&self, stream: &StreamState, segments: &[&str]) -> Option<Attribute> {
        let port = |address: &str| address.rsplit_once(':')?.1.parse().ok().map(Attribute::Number);
        match segments {
            ["source" | "filter_state"] | ["xds", "upstream_host_metadata"] => Some(Attribute::Opaque),
            ["source", "address"] => Some(Attribute::text(&stream.client)),
            ["source", "port"] => port(&stream.client),
            ["destination", "address"] => Some(Attribute::text(LISTENER)),
            ["destination", "port"] => port(LISTENER),
            ["connection_id"] | ["connection", "id"] => Some(Attribute::Number(1)),
            ["connection", "mtls"] => Some(Attribute::Flag(false)),
            ["xds", "cluster_name"] => Some(Attribute::text("inbound|8080||")),
            ["xds", "route_name"] => Some(Attribute::text("default")),
            ["request", field @ ..] => self.of_request(stream, field),
            ["response", field @ ..] => of_response(stream, field),
            ["filter_state", key] => state(stream, key.strip_prefix("wasm.")?),
            [key] => state(stream, key),
            _ => None,
        }
    }

    fn of_request(&self, stream: &StreamState, field: &[&str]) -> Option<Attribute> {
        let since_start = self.clock.monotonic - stream.started.monotonic;
        match field {
            ["protocol"] => return Some(Attribute::text("HTTP/1.1")),
            ["time"] => return Some(Attribute::Number(nanos(stream.started.wall))),
            ["size"] => return Some(Attribute::Number(request_size(stream))),
            ["duration"] if stream.logging => return Some(Attribute::Number(nanos(since_start))),
            _ => {}
        }
        let headers = stream.request.readable_headers(stream.logging)?;
        let path = headers.get(":path").unwrap_or_default();
        let query = path.iter().position(|&byte| byte == b'?');
        match field {
            ["path"] => headers.get(":path").map(Attribute::text),
            ["url_path"] => {
                headers.get(":path").map(|_| Attribute::text(&path[..query.unwrap_or(path.len())]))
            }
            ["query"] => {
                headers.get(":path").map(|_| Attribute::text(query.map_or(&[][..], |at| &path[at + 1..])))
            }
            ["host"] => headers.get(":authority").map(Attribute::text),
            ["method"] => headers.get(":method").map(Attribute::text),
            ["scheme"] => headers.get(":scheme").map(Attribute::text),
            ["id"] => headers.get("x-request-id").map(Attribute::text),
            ["useragent"] => headers.get("user-agent").map(Attribute::text),
            ["referer"] => headers.get("referer").map(Attribute::text),
            ["headers", name] => headers.all(name).map(Attribute::Text),
            _ => None,
        }
    }
}

/// What the request declares, as long as its headers are at hand; what has arrived, after that.
fn request_size(stream: &StreamState) -> u64 {
    let declared = stream.request.readable_headers(stream.logging).and_then(|map| map.get("content-length"));
    let declared = declared.and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
    declared.unwrap_or((stream.request.sent.len() + stream.request.buffer.len()) as u64)
}

fn of_response(stream: &StreamState, field: &[&str]) -> Option<Attribute> {
    let headers = stream.response.readable_headers(stream.logging);
    match field {
        ["flags"] => Some(Attribute::Number(0)),
        ["code"] => stream.code.map(|code| Attribute::Number(code.into())),
        ["code_details"] => stream.code_details.as_ref().map(Attribute::text),
        ["grpc_status"] => {
            let code = stream.code?;
            let sent = headers.and_then(|headers| headers.get("grpc-status"));
            let sent = sent.and_then(|sent| std::str::from_utf8(sent).ok()?.parse().ok());
            Some(Attribute::Number(sent.unwrap_or_else(|| grpc_status(code).into())))
        }
        ["size"] => Some(Attribute::Number(stream.response.sent.len() as u64)),
        ["headers", name] => headers?.all(name).map(Attribute::Text),
        ["backend_latency"] if stream.logging => {
            stream.upstream_took.map(|took| Attribute::Number(nanos(took)))
        }
        _ => None,
    }
}

fn state(stream: &StreamState, key: &str) -> Option<Attribute> {
    stream.filter_state.get(key.as_bytes()).map(Attribute::text)
}

fn node_metadata(path: &[&str]) -> Option<Vec<u8>> {
    let metadata: Value = serde_json::from_str(plugin_cases::NODE_METADATA).unwrap();
    let value = path.iter().try_fold(&metadata, |value, segment| match value {
        Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
        value => value.get(segment),
    });
    value.map(serialized)
}

fn serialized(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::Bool(flag) => vec![u8::from(*flag)],
        Value::Number(number) => number.as_f64().unwrap().to_le_bytes().to_vec(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(items) => {
            write_pairs(&items.iter().map(|item| (serialized(item), [])).collect::<Vec<_>>())
        }
        Value::Object(fields) => {
            write_pairs(&fields.iter().map(|(name, value)| (name, serialized(value))).collect::<Vec<_>>())
        }
    }
}

impl Host {
    /// Writes filter state `wasm.<path>`, whatever the path is.
    pub(crate) fn set_property(&mut self, path: &[u8], value: &[u8]) -> HostResult<()> {
        self.trace(format!("set_property {}", String::from_utf8_lossy(path).replace('\0', ".")));
        let stream = self.effective_stream_mut().ok_or(Status::NotFound)?;
        stream.filter_state.insert(path.to_vec(), value.to_vec());
        Ok(())
    }
}
