//! One plugin with its example, for trying it by hand.

use anyhow::Result;

use crate::chain::Link;
use crate::demo::serve;
use crate::runtime::until_interrupted;
use crate::upstream::Upstream;
use crate::workspace::Plugin;

/// Serves on `port` until Ctrl-C; the upstream answers with what it saw.
pub fn run(plugin: &str, port: u16) -> Result<()> {
    let upstream = Upstream::start()?;
    let link = Link::new(Plugin::named(plugin)?)?;
    let (envoy, _services) = serve(std::slice::from_ref(&link), port, &upstream)?;
    let url = format!("http://{}", envoy.address("demo"));
    println!("{plugin} on {url}, as dist/{plugin}/wasmplugin.yaml says");
    println!("Try          curl -i {url}{}", first_path(&link.plugin));
    println!("Admin        http://{}", envoy.admin());
    println!("Envoy's log  {}", envoy.log_file().display());
    println!("Ctrl-C ends it.");
    until_interrupted()
}

fn first_path(plugin: &Plugin) -> String {
    let tour = plugin.tour().unwrap_or_default();
    tour.first().map_or_else(|| "/".into(), |case| case.request.path.clone())
}
