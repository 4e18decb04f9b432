//! The services that plugins ask, as their cases say.

use std::collections::BTreeMap;

use anyhow::Result;
use plugin_cases::{Case, Exchange, SeenCall};

use crate::bootstrap::Bootstrap;
use crate::chain::Link;
use crate::client::Client;
use crate::message::{Message, Reply};
use crate::upstream::Upstream;

/// A server for each cluster that cases call. Without a case they answer 200, with a description of what they saw.
pub struct Services(BTreeMap<String, Upstream>);

impl Services {
    /// Starts those that these cases call.
    pub fn start<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Result<Self> {
        let mut services = BTreeMap::new();
        for call in cases.into_iter().flat_map(|case| &case.calls) {
            if !services.contains_key(&call.cluster) {
                services.insert(call.cluster.clone(), Upstream::start()?);
            }
        }
        Ok(Self(services))
    }

    /// Starts those that the tours of these plugins call.
    pub fn of_tours(chain: &[Link]) -> Result<Self> {
        let tours = chain.iter().map(|link| link.plugin.tour()).collect::<Result<Vec<_>>>()?;
        Self::start(tours.iter().flatten())
    }

    /// Makes them clusters.
    #[must_use]
    pub fn clusters(&self, bootstrap: Bootstrap) -> Bootstrap {
        self.0.iter().fold(bootstrap, |bootstrap, (name, service)| bootstrap.cluster(name, service.address()))
    }

    /// Sends the request of a case through `client`, and answers it and the calls that it leads to.
    pub fn exchange(&self, upstream: &Upstream, client: &Client, case: &Case) -> Result<Exchange> {
        for (cluster, service) in &self.0 {
            let calls = case.calls.iter().filter(|call| call.cluster == *cluster);
            service.expect_calls(calls.map(|call| Reply::from(&call.answer)));
        }
        let exchange = upstream.exchange(client, &Message::from(&case.request), Reply::from(&case.answer));
        let mut calls = Vec::new();
        for (cluster, service) in &self.0 {
            let seen = service.take_calls().into_iter();
            calls.extend(seen.map(|request| SeenCall { cluster: cluster.clone(), request }));
        }
        Ok(Exchange { calls, ..exchange? })
    }
}
