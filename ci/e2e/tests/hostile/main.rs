//! Nothing that a client or an application sends decides whether a plugin lives: after each of these cases the next good
//! request is answered as before, through every plugin alone and through all of them.

mod applications;
mod bytes;
mod frames;
mod leaving;
mod wire;

use std::net::SocketAddr;

use anyhow::Result;
use e2e::{Scene, Stage, Tally};
use harness::{Message, Reply};

/// A situation.
struct Case {
    what: String,
    act: Box<dyn Fn(SocketAddr) -> Result<()>>,
}

impl Case {
    fn new(what: impl Into<String>, act: impl Fn(SocketAddr) -> Result<()> + 'static) -> Self {
        Self { what: what.into(), act: Box::new(act) }
    }
}

/// Brings every listener into every situation; `cases` makes them from a request that passes there.
fn every_plugin_survives(suite: &'static str, cases: impl Fn(&Message) -> Vec<Case>) {
    let stage = Stage::set().unwrap();
    let mut tally = Tally::new(suite);
    for scene in &stage.scenes {
        let address = stage.envoy.address(&scene.name);
        let before = welcome(&stage, scene, "before all");
        let cases = cases(&scene.welcome);
        for Case { what, act } in &cases {
            act(address).unwrap_or_else(|error| panic!("{}, {what}: {error:#}", scene.name));
            assert_eq!(welcome(&stage, scene, what), before, "{}, after {what}", scene.name);
        }
        stage.check_alive().unwrap_or_else(|dead| panic!("{}: {dead}", scene.name));
        tally.listeners += 1;
        tally.cases = cases.len();
        tally.faults += cases.len() as u64;
        tally.requests += 2 * cases.len() as u64 + 1;
    }
    println!("{tally}");
}

/// A good request, which reaches the upstream.
fn welcome(stage: &Stage, scene: &Scene, after: &str) -> u16 {
    let seen = stage
        .exchange(&stage.client(scene), &scene.welcome, Reply::default())
        .unwrap_or_else(|lost| panic!("{}, after {after}: {lost:#}", scene.name));
    assert!(seen.upstream.is_some(), "{}, after {after}: not reached, {:?}", scene.name, seen.response);
    seen.response.status
}

#[test]
fn no_bytes_kill_a_plugin() {
    every_plugin_survives("bytes of HTTP/1", |_| bytes::cases());
}

#[test]
fn no_frames_kill_a_plugin() {
    every_plugin_survives("frames of HTTP/2", |_| frames::cases());
}

#[test]
fn no_client_that_leaves_or_dawdles_kills_a_plugin() {
    every_plugin_survives("clients that leave or dawdle", leaving::cases);
}

#[test]
fn no_application_and_no_other_filter_kills_a_plugin() {
    every_plugin_survives("applications and other filters", applications::cases);
}
