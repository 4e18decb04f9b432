//! What a denied client gets.

use std::fmt::Write;

use plugin_kit::config::{At, ConfigError};
use plugin_kit::headers::{HeaderName, is_clean};
use plugin_kit::reply::Reply;

use crate::config;
use crate::headers::seconds;

const PROBLEM: &str = "https://iana.org/assignments/http-problem-types";
const UNAVAILABLE_BODY: &str = "Rate limiting is not available";
const RESOURCE_EXHAUSTED: u8 = 8;
const UNAVAILABLE: u8 = 14;

/// The replies.
#[derive(Debug)]
pub struct Replies {
    status: u16,
    body: String,
    problem: bool,
    headers: Vec<(HeaderName, Vec<u8>)>,
    retry_after: bool,
    failure_status: u16,
}

impl Replies {
    /// Checks what the operator wrote.
    pub fn compile(response: &config::Response, rls: Option<&config::Rls>) -> Result<Self, ConfigError> {
        let header = |(name, value): (&str, &str)| {
            if !is_clean(value.as_bytes()) {
                return Err(ConfigError::new("must not contain control characters")).at(name);
            }
            Ok((HeaderName::writable(name).at(name)?, value.as_bytes().to_vec()))
        };
        Ok(Self {
            status: error_status(response.status.unwrap_or(429)).at("status").at("response")?,
            body: response.body.clone().unwrap_or_else(|| "Rate limit exceeded".into()),
            problem: response.problem_json,
            headers: response
                .headers
                .iter()
                .map(header)
                .collect::<Result<_, _>>()
                .at("headers")
                .at("response")?,
            retry_after: response.retry_after.unwrap_or(true),
            failure_status: error_status(rls.and_then(|rls| rls.failure_status).unwrap_or(503))
                .at("failureStatus")
                .at("rls")?,
        })
    }

    /// A denial by these limits. `wait` is in nanoseconds; `body` is the service's own, if it sent one.
    pub fn denied(&self, limits: &[&str], wait: Option<u64>, body: Option<Vec<u8>>, grpc: bool) -> Reply {
        let details = format!("rate_limit_{}", limits.first().unwrap_or(&"denied"));
        let mut reply = Reply::new(self.status).details(details);
        for (name, value) in &self.headers {
            reply = reply.header(name.as_str(), value.clone());
        }
        if let Some(wait) = wait.filter(|_| self.retry_after) {
            reply = reply.header("retry-after", seconds(wait).max(1).to_string());
        }
        if grpc {
            return reply.grpc_status(RESOURCE_EXHAUSTED).body(self.body.as_bytes());
        }
        match body {
            Some(body) => reply.body(body),
            None if self.problem => {
                let policies: Vec<String> = limits.iter().map(|name| json(name)).collect();
                let more = format!(",\"violated-policies\":[{}]", policies.join(","));
                with_problem(reply, "quota-exceeded", self.status, &self.body, &more)
            }
            None => reply.body(self.body.as_bytes()),
        }
    }

    /// The service gave no answer, and that is denied; or counters could not be written.
    pub fn failed(&self, details: &str, grpc: bool) -> Reply {
        let reply = Reply::new(self.failure_status).details(details);
        if grpc {
            return reply.grpc_status(UNAVAILABLE).body(UNAVAILABLE_BODY);
        }
        if self.problem {
            let kind = "temporary-reduced-capacity";
            return with_problem(reply, kind, self.failure_status, UNAVAILABLE_BODY, "");
        }
        reply.body(UNAVAILABLE_BODY)
    }
}

fn with_problem(reply: Reply, kind: &str, status: u16, detail: &str, more: &str) -> Reply {
    let detail = json(detail);
    reply
        .header("content-type", "application/problem+json")
        .body(format!("{{\"type\":\"{PROBLEM}#{kind}\",\"status\":{status},\"detail\":{detail}{more}}}"))
}

fn error_status(status: u16) -> Result<u16, ConfigError> {
    if (400..=599).contains(&status) {
        return Ok(status);
    }
    Err(ConfigError::new(format!("must be from 400 to 599, not {status}")))
}

/// A JSON string.
fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_json() {
        for text in ["", "plain", "a\"b\\c", "line\r\n\0\u{1f}", "阳明"] {
            assert_eq!(serde_json::from_str::<String>(&json(text)).unwrap(), text);
        }
    }
}
