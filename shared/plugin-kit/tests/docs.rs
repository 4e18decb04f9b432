//! The tables of `docs/configuration.md` say what the types say; `BLESS=1` writes them.
#![cfg(feature = "schema")]

use plugin_kit::client_ip::ClientIp;
use plugin_kit::header_ops::HeaderOps;
use plugin_kit::matching::Match;
use plugin_testkit::shared_docs;

#[test]
fn the_shared_types_are_described() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    shared_docs::<Match>(document, "match");
    shared_docs::<HeaderOps>(document, "header operations");
    shared_docs::<ClientIp>(document, "clientIp");
}
