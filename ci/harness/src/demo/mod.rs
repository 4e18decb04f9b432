//! Every plugin in one chain, as its `WasmPlugin` says, and a tour of requests through them.

mod show;

use std::collections::BTreeSet;

use anyhow::Result;
use plugin_cases::{Case, Exchange, Host};

use crate::bootstrap::{Bootstrap, Listener};
use crate::chain::{Link, chain};
use crate::client::Client;
use crate::envoy::Envoy;
use crate::message::Message;
use crate::runtime::until_interrupted;
use crate::services::Services;
use crate::upstream::Upstream;
use show::Screen;

/// Starts Envoy with `chain` on one listener, and the services that its tours call.
pub fn serve(chain: &[Link], port: u16, upstream: &Upstream) -> Result<(Envoy, Services)> {
    let services = Services::of_tours(chain)?;
    let listener = Listener::new("demo").port(port).chain(chain);
    let bootstrap = Bootstrap::new().cluster("upstream", upstream.address()).listener(listener);
    let envoy = services.clusters(bootstrap).start()?;
    envoy.check_configured()?;
    Ok((envoy, services))
}

/// Sends every plugin's `tests/tour.yaml` and shows what became of each request.
///
/// With `keep` Envoy then stays up until Ctrl-C; other requests are answered with what the upstream saw of them.
pub fn run(keep: bool) -> Result<()> {
    let chain = chain()?;
    let upstream = Upstream::start()?;
    let (envoy, services) = serve(&chain, 0, &upstream)?;
    let client = Client::new(envoy.address("demo"));
    let mut screen = Screen::new();
    for link in &chain {
        let tour = link.plugin.tour()?;
        if !tour.is_empty() {
            screen.stop(&link.plugin.name);
        }
        let calls = tour.iter().flat_map(|case| &case.calls);
        let own: BTreeSet<String> = calls.map(|call| call.cluster.clone()).collect();
        for case in tour {
            let exchange = |case: &Case| {
                let mut seen = services.exchange(&upstream, &client, case)?;
                // Other plugins of the chain make calls for the same request.
                seen.calls.retain(|call| own.contains(&call.cluster));
                Ok(seen)
            };
            visit(&case, exchange, &mut screen);
        }
    }
    screen.deaths(&envoy.deaths()?);
    screen.chain(&chain)?;
    let outcome = screen.finish();
    if outcome.is_err() {
        eprintln!("The last lines of Envoy's log:\n{}", envoy.last_lines());
    }
    if keep {
        stay(&envoy)?;
    }
    outcome
}

fn visit(case: &Case, exchange: impl Fn(&Case) -> Result<Exchange>, screen: &mut Screen) {
    let message = Message::from(&case.request);
    let mut last = None;
    let outcome = case.run(Host::Envoy, |case| {
        let seen = exchange(case)?;
        last = Some(seen.clone());
        Ok(seen)
    });
    if let Some(outcome) = outcome {
        screen.visit(case, &message, last.as_ref(), &outcome);
    }
}

fn stay(envoy: &Envoy) -> Result<()> {
    println!("Listening on http://{}", envoy.address("demo"));
    println!("Admin        http://{}", envoy.admin());
    println!("Envoy's log  {}", envoy.log_file().display());
    println!("Ctrl-C ends it.");
    until_interrupted()
}
