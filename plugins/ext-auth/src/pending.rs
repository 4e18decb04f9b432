//! The requests of this worker that wait for an answer: their own, or that to another one's question.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use plugin_kit::callout::Token;
use plugin_kit::stream::StreamId;

use crate::check_request::CheckRequest;
use crate::config::Failure;
use crate::key::Key;
use crate::names::Lines;

/// What the response of a request will be given.
pub type ClientHeaders = Rc<RefCell<Lines>>;

/// A request that waits. Times are of the monotonic clock.
#[derive(Debug)]
pub struct Pending {
    /// The request; `None` where it went on, and only the answer is of interest.
    pub stream: Option<StreamId>,
    /// What the service is asked about it.
    pub question: CheckRequest,
    /// What happens without an answer.
    pub failure: Failure,
    /// Whether its client speaks gRPC.
    pub is_grpc: bool,
    /// When there must have been an answer.
    pub deadline: Duration,
    /// Whose answer it waits for.
    pub waits: Waits,
    /// For its response.
    pub told: ClientHeaders,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Its turn.
    ForATick {
        /// Its answer is for nobody else.
        alone: bool,
    },
    /// The answer to its own call.
    ForAnswer {
        /// The call.
        call: Token,
        /// Since when.
        since: Duration,
        /// Everybody else waits for it.
        leads: bool,
    },
}

/// The requests that wait.
#[derive(Debug, Default)]
pub struct Queue(Vec<Pending>);

impl Queue {
    /// One more.
    pub fn push(&mut self, held: Pending) {
        self.0.push(held);
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Pending> {
        self.0.iter()
    }

    /// Takes out the one whose call this is.
    pub fn take_call(&mut self, token: Token) -> Option<Pending> {
        self.take(|held| matches!(held.waits, Waits::ForAnswer { call, .. } if call == token))
    }

    /// Takes out that of a stream.
    pub fn take_stream(&mut self, stream: StreamId) -> Option<Pending> {
        self.take(|held| held.stream == Some(stream))
    }

    /// Takes out those that wait for their turn.
    pub fn take_waiting(&mut self) -> Vec<Pending> {
        self.0.extract_if(.., |held| held.is_waiting()).collect()
    }

    /// Takes out those that wait for the answer to this question.
    pub fn take_alike(&mut self, key: &Key) -> Vec<Pending> {
        let is_alike = |held: &mut Pending| held.is_waiting() && held.question.key == Some(*key);
        self.0.extract_if(.., is_alike).collect()
    }

    fn take(&mut self, is_wanted: impl FnMut(&Pending) -> bool) -> Option<Pending> {
        let index = self.0.iter().position(is_wanted)?;
        Some(self.0.swap_remove(index))
    }
}

impl Pending {
    /// Whether it waits for its turn.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.waits, Waits::ForATick { .. })
    }
}
