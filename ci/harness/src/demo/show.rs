//! How the tour is shown: a request's way there and back in a few lines.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::IsTerminal;

use anyhow::{Result, bail, ensure};
use plugin_cases::{Case, Exchange, Failure};

use crate::chain::Link;
use crate::message::Message;

/// What every proxy adds, on either side.
const NOISE: [&str; 7] = [
    "date",
    "server",
    "content-length",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];
const WIDEST: usize = 120;
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const BLUE: &str = "36";

type Lines = [(String, Vec<u8>)];

pub struct Screen {
    colours: bool,
    shown: usize,
    failed: usize,
}

impl Screen {
    pub fn new() -> Self {
        let colours = std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { colours, shown: 0, failed: 0 }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The plugins, in the order in which a request meets them.
    pub fn chain(&self, chain: &[Link]) -> Result<()> {
        let width = chain.iter().map(|link| link.plugin.name.len()).max().unwrap_or_default().max(6);
        let head = format!("{:width$}  {:>7}  {:17}  {:>8}", "plugin", "KiB", "phase", "priority");
        println!("\n{}", self.paint(BOLD, &head));
        for link in chain {
            let kib = fs::metadata(&link.module)?.len().div_ceil(1024);
            let priority = link.manifest.priority().map_or("-".into(), |priority| priority.to_string());
            let phase = link.manifest.phase().as_str();
            println!("{:width$}  {kib:>7}  {phase:17}  {priority:>8}", link.plugin.name);
        }
        Ok(())
    }

    /// The next plugin on the tour.
    pub fn stop(&self, plugin: &str) {
        println!("\n{}", self.paint(BOLD, plugin));
    }

    /// One request, its fate, and whether that was expected.
    pub fn visit(
        &mut self,
        case: &Case,
        sent: &Message,
        seen: Option<&Exchange>,
        outcome: &Result<(), Failure>,
    ) {
        self.shown += 1;
        let (mark, colour) = if outcome.is_ok() { ("✓", GREEN) } else { ("✗", RED) };
        let times = if case.times > 1 { format!(" ({} times)", case.times) } else { String::new() };
        println!("\n{} {}{times}", self.paint(colour, mark), self.paint(BOLD, &case.name));
        self.request(sent);
        if let Some(seen) = seen {
            self.calls(seen);
            self.upstream(sent, seen);
            self.response(seen);
        }
        if let Err(failure) = outcome {
            self.failed += 1;
            for difference in &failure.differences {
                println!("  {}", self.paint(RED, difference));
            }
        }
    }

    fn request(&self, sent: &Message) {
        let path = String::from_utf8_lossy(&sent.path);
        println!("  {} {} {path}  {}", self.paint(BLUE, "→"), sent.method, self.paint(DIM, &sent.authority));
        for (name, value) in &sent.headers {
            self.line(' ', name, value, DIM);
        }
        if let Some(body) = sent.body.as_deref().filter(|body| !body.is_empty()) {
            println!("      {}", shown(body));
        }
    }

    fn calls(&self, seen: &Exchange) {
        for call in &seen.calls {
            let (arrow, request) = (self.paint(BLUE, "⇄"), &call.request);
            println!("  {arrow} {} was asked {} {}", call.cluster, request.method, request.path);
            for (name, values) in by_name(&request.headers) {
                values.iter().for_each(|value| self.line(' ', &name, value, DIM));
            }
        }
    }

    fn upstream(&self, sent: &Message, seen: &Exchange) {
        let arrow = self.paint(BLUE, "⇢");
        let Some(upstream) = &seen.upstream else {
            println!("  {arrow} {}", self.paint(DIM, "the upstream saw nothing"));
            return;
        };
        println!("  {arrow} upstream saw {} {}", upstream.method, upstream.path);
        if upstream.authority != sent.authority {
            self.line('~', "host", upstream.authority.as_bytes(), GREEN);
        }
        let before = by_name(&sent.headers);
        let after = by_name(&upstream.headers);
        for (name, values) in &after {
            match before.get(name) {
                Some(old) if old == values => {}
                old => {
                    let sign = if old.is_some() { '~' } else { '+' };
                    values.iter().for_each(|value| self.line(sign, name, value, GREEN));
                }
            }
        }
        for (name, values) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
            values.iter().for_each(|value| self.line('-', name, value, RED));
        }
    }

    fn response(&self, seen: &Exchange) {
        let status = seen.response.status;
        let colour = if status < 400 { GREEN } else { RED };
        println!("  {} {}", self.paint(BLUE, "←"), self.paint(colour, &status.to_string()));
        for (name, values) in by_name(&seen.response.headers) {
            values.iter().for_each(|value| self.line(' ', &name, value, DIM));
        }
        if !seen.response.body.is_empty() {
            println!("      {}", shown(&seen.response.body));
        }
    }

    fn line(&self, sign: char, name: &str, value: &[u8], colour: &str) {
        println!("    {}", self.paint(colour, &format!("{sign} {name}: {}", shown(value))));
    }

    /// The signs that a VM died count as failures.
    pub fn deaths(&mut self, signs: &[String]) {
        self.failed += signs.len();
        signs.iter().for_each(|sign| println!("\n{} {sign}", self.paint(RED, "✗")));
    }

    /// The last line; an error unless all went as expected.
    pub fn finish(&self) -> Result<()> {
        let Self { shown, failed, .. } = self;
        println!();
        ensure!(*shown > 0, "no plugin has a tests/tour.yaml");
        if *failed > 0 {
            bail!("{failed} failures in {shown} requests");
        }
        println!("{}", self.paint(GREEN, &format!("✓ every request as expected ({shown})")));
        Ok(())
    }
}

fn by_name(headers: &Lines) -> BTreeMap<String, Vec<&[u8]>> {
    let mut lines: BTreeMap<String, Vec<&[u8]>> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if !NOISE.contains(&name.as_str()) && !name.starts_with("x-envoy-") {
            lines.entry(name).or_default().push(value);
        }
    }
    lines
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end();
    let mut shown: String = text.chars().take(WIDEST).map(|c| if c.is_control() { '·' } else { c }).collect();
    if text.chars().count() > WIDEST {
        shown.push('…');
    }
    shown
}
