//! Every subject in front of every server, in one Envoy.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use harness::{Bootstrap, Envoy};

use crate::client::{Client, PROTOCOLS, Protocol, Ran};
use crate::corpus::Spelling;
use crate::servers::{self, Server};
use crate::service::Service;
use crate::subjects::{Kind, Subject, subjects};

const CLIENTS: usize = 16;
/// Requests over one connection, at most.
const BATCH: usize = 100;
/// The cluster of the service that ext-auth calls.
const AUTHORIZATION: &str = "authorization";

pub struct TestBed {
    pub servers: Vec<Server>,
    pub subjects: Vec<Subject>,
    envoy: Envoy,
    _service: Service,
}

/// A request for which a handler ran. Subject, server and spelling are places in their lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub subject: usize,
    pub server: usize,
    pub spelling: usize,
    pub protocol: Protocol,
    pub ran: Ran,
}

/// Requests that one client sends.
struct Batch {
    subject: usize,
    server: usize,
    protocol: Protocol,
    spellings: Range<usize>,
}

impl TestBed {
    pub fn start() -> Result<Self> {
        let servers = servers::start_all()?;
        let service = Service::start();
        let subjects = subjects(AUTHORIZATION)?;
        let names: Vec<&str> = servers.iter().map(|server| server.name).collect();
        let mut bootstrap = Bootstrap::new().concurrency(2).log_level("wasm:warning");
        bootstrap = bootstrap.cluster(AUTHORIZATION, service.address());
        for server in &servers {
            bootstrap = bootstrap.raw_cluster(server.cluster());
        }
        for subject in &subjects {
            bootstrap = bootstrap.listener(subject.listener(&names));
        }
        let envoy = bootstrap.start()?;
        envoy.check_configured()?;
        let bed = Self { servers, subjects, envoy, _service: service };
        bed.exhaust_limits()?;
        Ok(bed)
    }

    /// Sends the one request that each rate limit admits.
    fn exhaust_limits(&self) -> Result<()> {
        for (at, subject) in self.subjects.iter().enumerate() {
            if subject.kind == Kind::RateLimit {
                let mut client = self.client(at, 0, Protocol::Http1, &subject.attacker);
                let admitted = client.send(&Spelling::get("/admin/users"))?;
                ensure!(admitted.is_some(), "{} admits no request", subject.name);
            }
        }
        Ok(())
    }

    /// Sends every spelling over both protocols through every subject to every server, with the attacker's credentials,
    /// and returns the requests for which a handler ran.
    pub fn send(&self, spellings: &[Spelling]) -> Result<Vec<Seen>> {
        let batches = self.batches(spellings.len());
        let (next, seen) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || -> Result<()> {
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let found = self.send_batch(batch, spellings)?;
                seen.lock().unwrap().extend(found);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
            clients.into_iter().try_for_each(|client| client.join().unwrap())
        })?;
        let deaths = self.envoy.deaths()?;
        ensure!(deaths.is_empty(), "a VM died:\n{}", deaths.join("\n"));
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        Ok(seen)
    }

    fn batches(&self, spellings: usize) -> Vec<Batch> {
        let mut batches = Vec::new();
        for subject in 0..self.subjects.len() {
            for server in 0..self.servers.len() {
                for protocol in PROTOCOLS {
                    for start in (0..spellings).step_by(BATCH) {
                        let spellings = start..spellings.min(start + BATCH);
                        batches.push(Batch { subject, server, protocol, spellings });
                    }
                }
            }
        }
        batches
    }

    fn send_batch(&self, batch: &Batch, spellings: &[Spelling]) -> Result<Vec<Seen>> {
        let Batch { subject, server, protocol, .. } = *batch;
        let attacker = &self.subjects[subject].attacker;
        let mut client = self.client(subject, server, protocol, attacker);
        let mut seen = Vec::new();
        for spelling in batch.spellings.clone() {
            let ran = client.send(&spellings[spelling]).with_context(|| {
                let (subject, server) = (self.subjects[subject].name, self.servers[server].name);
                format!("{subject}, {server}, {protocol:?}: {}", spellings[spelling])
            })?;
            seen.extend(ran.map(|ran| Seen { subject, server, spelling, protocol, ran }));
        }
        Ok(seen)
    }

    /// A client of one subject and one server.
    pub fn client(&self, subject: usize, server: usize, protocol: Protocol, authorization: &str) -> Client {
        let server = self.servers[server].name;
        let fields = vec![("x-server", server.to_owned()), ("authorization", authorization.to_owned())];
        Client::new(self.envoy.address(self.subjects[subject].name), protocol, fields)
    }
}
