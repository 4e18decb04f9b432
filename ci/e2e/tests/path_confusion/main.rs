//! Whatever a request's spelling, it never gets less than its plain spelling needs. The judges are servers that this
//! project did not write: a spelling counts where the handler of a protected resource runs.
//!
//! `just path-confusion` runs these tests and prints the table of `docs/testing.md`; with `BLESS=1` it writes the table.

mod client;
mod corpus;
mod servers;
#[path = "../ext_auth/service.rs"]
#[allow(dead_code)]
mod service;
mod subjects;
mod table;
mod test_bed;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use client::{PROTOCOLS, Protocol, Ran};
use corpus::{ORDINARY, Spelling, corpus};
use servers::Server;
use subjects::{Kind, OPEN, Subject};
use table::Table;
use test_bed::{Seen, TestBed};

/// With fewer spellings that reach a protected handler without a plugin, the corpus would show nothing about a server.
const MIN_REACHED: usize = 20;

#[test]
#[ignore = "needs the servers that `just path-confusion` installs"]
fn no_spelling_gets_less_than_its_plain_spelling_needs() {
    let bed = TestBed::start().unwrap();
    let classes = corpus();
    let spellings: Vec<Spelling> = classes.iter().flat_map(|class| class.spellings.clone()).collect();
    let started = Instant::now();
    let seen = bed.send(&spellings).unwrap();
    let requests = bed.subjects.len() * bed.servers.len() * PROTOCOLS.len() * spellings.len();
    println!("{} spellings, {requests} requests in {:.0?}", spellings.len(), started.elapsed());

    let mut table = Table::new(&bed.servers, &classes);
    let mut bypasses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Seen { subject, server, spelling, protocol, ran } in
        seen.iter().filter(|seen| seen.ran.handler == "admin")
    {
        let Subject { name, kind, .. } = bed.subjects[*subject];
        table.count(*server, *spelling, kind);
        if kind.is_plugin() {
            let bypass = format!("{} passes {name} and is {:?}", spellings[*spelling], ran.path);
            let server = bed.servers[*server].name;
            bypasses.entry(bypass).or_default().push(format!("{server} over {protocol:?}"));
        }
    }
    print!("{table}");
    for (bypass, servers) in &bypasses {
        println!("{bypass} to {}", servers.join(", "));
    }
    assert!(bypasses.is_empty(), "{} spellings get less than they need", bypasses.len());
    for (server, reached) in table.reached() {
        assert!(reached >= MIN_REACHED, "only {reached} spellings reach a protected handler of {server}");
    }
    table.compare_with_the_document();
}

#[test]
#[ignore = "needs the servers that `just path-confusion` installs"]
fn ordinary_paths_pass_every_plugin() {
    let bed = TestBed::start().unwrap();
    let at = |prefix: &str, path: &str| Spelling::get(format!("{prefix}{path}"));
    let plain = ORDINARY.iter().map(|path| at("", path));
    let spellings: Vec<Spelling> = plain.chain(ORDINARY.iter().map(|path| at(OPEN, path))).collect();
    let mut ran: HashMap<(usize, usize, Protocol), BTreeMap<usize, Ran>> = HashMap::new();
    for seen in bed.send(&spellings).unwrap() {
        let here = ran.entry((seen.subject, seen.server, seen.protocol)).or_default();
        here.insert(seen.spelling, seen.ran);
    }
    for (subject, Subject { name, open, .. }) in bed.subjects.iter().enumerate() {
        let first = if *open == OPEN { ORDINARY.len() } else { 0 };
        for (server, Server { name: on, .. }) in bed.servers.iter().enumerate() {
            for protocol in PROTOCOLS {
                let (with, without) = (&ran[&(subject, server, protocol)], &ran[&(0, server, protocol)]);
                for (spelling, ran) in without.range(first..) {
                    let request = &spellings[*spelling];
                    assert_eq!(with.get(spelling), Some(ran), "{name}, {on}, {protocol:?}: {request}");
                }
                let passed = without.range(first..).count();
                assert!(passed >= 50, "only {passed} paths reach {on} over {protocol:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs the servers that `just path-confusion` installs"]
fn plain_requests_get_what_the_rules_say() {
    let bed = TestBed::start().unwrap();
    let plain = [
        Spelling::get("/admin/users"),
        Spelling::get("/keys"),
        Spelling { authority: "admin.example.com".into(), ..Spelling::get("/public/x") },
        Spelling { method: "POST", ..Spelling::get("/orders") },
    ];
    for (subject, Subject { name, kind, attacker, admin, .. }) in bed.subjects.iter().enumerate() {
        for (server, Server { name: on, .. }) in bed.servers.iter().enumerate() {
            for (protocol, spelling) in
                PROTOCOLS.iter().flat_map(|protocol| plain.iter().map(move |one| (*protocol, one)))
            {
                let handler = |authorization: &str| {
                    let ran = bed.client(subject, server, protocol, authorization).send(spelling).unwrap();
                    ran.map(|ran| ran.handler)
                };
                let request = format!("{name}, {on}, {protocol:?}: {spelling}");
                let protected = Some("admin".to_owned());
                let expected = protected.clone().filter(|_| *kind == Kind::Unprotected);
                assert_eq!(handler(attacker), expected, "{request}");
                if let Some(admin) = admin {
                    assert_eq!(handler(admin), protected, "{request} as admin");
                }
            }
        }
    }
}

#[test]
fn the_corpus_has_300_spellings_and_50_ordinary_paths() {
    let classes = corpus();
    let spellings = classes.iter().flat_map(|class| &class.spellings);
    let distinct: HashSet<&Spelling> = spellings.clone().collect();
    assert_eq!(distinct.len(), spellings.count(), "a spelling is counted twice");
    assert!(distinct.len() >= 300, "{}", distinct.len());
    assert!(classes.iter().all(|class| !class.spellings.is_empty()));
    assert!(ORDINARY.iter().collect::<HashSet<_>>().len() >= 50);
}
