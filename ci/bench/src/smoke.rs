//! Whether everything that is measured does what it should, and the same as what it is compared with.

use std::fmt;

use anyhow::Result;
use harness::{Client, Message, Reply, Upstream};
use plugin_cases::{Case, Exchange, Host};

use crate::load::Saturation;
use crate::stage::{Behind, Stage};
use crate::subject::Group;

/// Enough that every connection of a load is answered several times.
const REQUESTS: usize = 50;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Smoke {
    /// Filters that were asked.
    pub subjects: usize,
    /// What was not as it should be, readable.
    pub failures: Vec<String>,
}

impl fmt::Display for Smoke {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} subjects: {} failed", self.subjects, self.failures.len())?;
        self.failures.iter().try_for_each(|failure| writeln!(formatter, "{failure}"))
    }
}

/// Sends each request once to an upstream that sees what came of it, and then a little load to what is measured.
pub fn smoke(groups: &[Group]) -> Result<Smoke> {
    let mut smoke = Smoke::default();
    exchange(groups, &mut smoke)?;
    load(groups, &mut smoke)?;
    Ok(smoke)
}

fn exchange(groups: &[Group], smoke: &mut Smoke) -> Result<()> {
    let upstream = Upstream::start()?;
    let stage = Stage::set(groups, Behind::Upstream(upstream.address()))?;
    for (index, group) in groups.iter().enumerate() {
        let mut first: Option<Vec<Seen>> = None;
        for (number, subject) in group.subjects.iter().enumerate() {
            smoke.subjects += 1;
            let client = Client::new(stage.subject(index, number).address);
            let mut seen = Vec::new();
            for case in group.variant.cases() {
                let outcome = case.run(Host::Envoy, |case| {
                    let (message, reply) = (Message::from(&case.request), Reply::from(&case.answer));
                    let exchange = upstream.exchange(&client, &message, reply)?;
                    seen.push(Seen::of(case, &exchange));
                    Ok(exchange)
                });
                let failure = outcome.and_then(Result::err);
                smoke.failures.extend(failure.map(|failure| format!("{}: {failure}", subject.label)));
            }
            match &first {
                None => first = Some(seen),
                Some(first) if *first == seen => {}
                Some(first) => {
                    smoke.failures.push(format!("{}: {seen:?}, but the plugin {first:?}", subject.label));
                }
            }
        }
    }
    smoke.failures.extend(stage.envoy.deaths()?);
    Ok(())
}

/// What of an exchange a variant speaks of, and all that do the same must agree on.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    path: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Seen {
    fn of(case: &Case, exchange: &Exchange) -> Self {
        let upstream = exchange.upstream.as_ref();
        let spoken_of =
            |name: &str| case.upstream.as_ref().is_some_and(|upstream| upstream.headers.contains_key(name));
        let headers =
            upstream.map(|seen| seen.headers.iter().filter(|(name, _)| spoken_of(name)).cloned().collect());
        Self {
            status: exchange.response.status,
            path: upstream.map(|seen| seen.path.clone()),
            headers: headers.unwrap_or_default(),
        }
    }
}

fn load(groups: &[Group], smoke: &mut Smoke) -> Result<()> {
    let stage = Stage::set(groups, Behind::DirectResponse)?;
    for (index, group) in groups.iter().enumerate() {
        for (number, subject) in group.subjects.iter().enumerate() {
            let loaded =
                Saturation::open(stage.subject(index, number)).and_then(|mut load| load.run(REQUESTS));
            if let Err(error) = loaded {
                smoke.failures.push(format!("{}, under load: {error:#}", subject.label));
            }
        }
    }
    smoke.failures.extend(stage.envoy.deaths()?);
    Ok(())
}
