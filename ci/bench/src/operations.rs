//! What single operations cost, in Wasm and in Lua: each is done many times in a request.

use anyhow::Result;
use serde_json::{Map, json};

use crate::subject::{Group, Kind, Subject, lua, module, wasm};
use crate::variant::Variant;

/// How often an operation is done in a request.
pub const TIMES: u32 = 50;
/// What every other operation is compared with.
pub const NOTHING: &str = "nothing";
const SCRIPT: &str = include_str!("../lua/operations.lua");

/// What is done, as `ci/probe` knows it and as people do, and whether Lua can.
pub const OPERATIONS: [(&str, &str, bool); 12] = [
    (NOTHING, "nothing", true),
    ("read-header", "read a header", true),
    ("read-absent-header", "read a header that is not there", true),
    ("read-all-headers", "read all headers", true),
    ("write-header", "write a header", true),
    ("read-property", "read the client's address", true),
    ("read-header-property", "read a header as a property", false),
    ("write-filter-state", "write filter state", false),
    ("read-clock", "read the clock", true),
    ("count", "add to a counter", false),
    ("hash", "hash 47 bytes (CRC-32, bit by bit)", true),
    ("regex", "replace by regular expression (Lua: by pattern)", true),
];

/// A group for each of them.
pub fn groups() -> Result<Vec<Group>> {
    let module = module("probe.wasm")?;
    let request = serde_json::from_value(json!({
        "path": "/banana/418",
        "headers": {
            "x-user-id": "7d444840-9dc0-11d1-b245-5ffdce74fad2",
            "user-agent": "bench/1.0",
            "accept": "*/*",
            "cookie": "session=0123456789abcdef",
        },
    }))?;
    let variant = Variant { request, ..Variant::named("operations") };
    let group = |(id, _, in_lua): &(&str, &str, bool)| {
        let subject = |label: String, filter| Subject {
            label,
            kind: Kind::Operation,
            filters: vec![filter],
            route: Map::new(),
        };
        let label = format!("probe-{id}");
        let mut subjects = vec![subject(wasm_label(id), wasm(&label, &module, &format!("{id} {TIMES}")))];
        if *in_lua {
            let source = format!("local OPERATION, TIMES = \"{id}\", {TIMES}\n{SCRIPT}");
            subjects.push(subject(lua_label(id), lua(&source)));
        }
        Group { variant: variant.clone(), subjects }
    };
    Ok(OPERATIONS.iter().map(group).collect())
}

/// The label of an operation in Wasm.
pub fn wasm_label(id: &str) -> String {
    format!("operation {id}, Wasm")
}

/// The label of an operation in Lua.
pub fn lua_label(id: &str) -> String {
    format!("operation {id}, Lua")
}
