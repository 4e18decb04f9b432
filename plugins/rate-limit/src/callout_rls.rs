//! Asking the rate limit service. Every way in which there is no answer ends in `None`, so that `failureMode` decides.

use std::time::Duration;

use log::debug;
use plugin_kit::body;
use plugin_kit::callout::{GrpcService, Token};
use plugin_kit::config::{At, ConfigError};

use crate::config::{self, FailureMode};
use crate::rls::{self, Answer};

const TIMEOUT: Duration = Duration::from_millis(20);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const REMEMBER: Duration = Duration::from_secs(60);
const MAX_REMEMBER: Duration = Duration::from_secs(86_400);

/// A rate limit service.
#[derive(Debug)]
pub struct Service {
    grpc: GrpcService,
    domain: String,
    timeout: Duration,
    /// What happens without an answer.
    pub failure: FailureMode,
    /// How long a denial is remembered at most.
    pub max_remember: Duration,
}

impl Service {
    /// Checks what the operator wrote.
    pub fn compile(config: &config::Rls) -> Result<Self, ConfigError> {
        for (field, text) in [("cluster", &config.cluster), ("domain", &config.domain)] {
            if text.is_empty() {
                return Err(ConfigError::new("is empty")).at(field);
            }
        }
        let timeout = config.timeout.map_or(TIMEOUT, |timeout| timeout.0);
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err(ConfigError::new("must be from 1ms to 60s")).at("timeout");
        }
        let max_remember = config.max_remember.map_or(REMEMBER, |most| most.0);
        if max_remember > MAX_REMEMBER {
            return Err(ConfigError::new("must be at most 24h")).at("maxRemember");
        }
        Ok(Self {
            max_remember,
            grpc: GrpcService::new(&config.cluster, &config.authority),
            domain: config.domain.clone(),
            timeout,
            failure: config.failure_mode,
        })
    }

    /// Asks; `None` where that is not possible, and then no answer will come.
    pub fn ask<'a>(&self, descriptors: impl Iterator<Item = &'a [u8]>, hits: u64) -> Option<Token> {
        let message = rls::request(&self.domain, descriptors, hits);
        match self.grpc.call(rls::SERVICE, rls::METHOD, &message, self.timeout) {
            Ok(token) => Some(token),
            Err(refused) => {
                debug!("the rate limit service cannot be asked: error={refused:?}");
                None
            }
        }
    }
}

/// The answer that has just come; readable in `on_grpc_call_response` only.
pub fn answer(status: u32, size: usize) -> Option<Answer> {
    if status != 0 {
        debug!("the rate limit service did not answer: grpc_status={status}");
        return None;
    }
    let answer = rls::answer(&body::GRPC_RESPONSE.read(size));
    if answer.is_none() {
        debug!("the rate limit service gave an answer that is none: bytes={size}");
    }
    answer
}
