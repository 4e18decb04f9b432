//! The table of `docs/testing.md`: how many spellings of each class reach a protected handler of each server.

use std::collections::HashSet;
use std::fmt;
use std::fs;

use harness::workspace_root;

use crate::corpus::Class;
use crate::servers::Server;
use crate::subjects::Kind;

const START: &str = "<!-- path confusion -->\n";
const END: &str = "<!-- /path confusion -->";
/// The numbers of a cell, in this order.
const KINDS: [Kind; 4] = [Kind::Unprotected, Kind::Rbac, Kind::JwtAuthn, Kind::ExtAuth];

/// The spellings that reach a protected handler, over either protocol and through any subject of a kind.
pub struct Table {
    servers: Vec<&'static str>,
    classes: Vec<(&'static str, usize)>,
    reached: HashSet<(usize, usize, Kind)>,
}

impl Table {
    pub fn new(servers: &[Server], classes: &[Class]) -> Self {
        Self {
            servers: servers.iter().map(|server| server.name).collect(),
            classes: classes.iter().map(|class| (class.name, class.spellings.len())).collect(),
            reached: HashSet::new(),
        }
    }

    pub fn count(&mut self, server: usize, spelling: usize, kind: Kind) {
        self.reached.insert((server, spelling, kind));
    }

    /// For each server, how many spellings reach it without a plugin.
    pub fn reached(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let reached = |server| self.number(server, 0..usize::MAX, Kind::Unprotected);
        self.servers.iter().enumerate().map(move |(server, name)| (*name, reached(server)))
    }

    fn number(&self, server: usize, spellings: std::ops::Range<usize>, kind: Kind) -> usize {
        let counts = |(at, spelling, of): &&(usize, usize, Kind)| {
            *at == server && *of == kind && spellings.contains(spelling)
        };
        self.reached.iter().filter(counts).count()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut row = |name: &str, spellings: std::ops::Range<usize>| {
            let mut row = vec![name.to_owned(), spellings.len().to_string()];
            row.extend((0..self.servers.len()).map(|server| {
                KINDS.map(|kind| self.number(server, spellings.clone(), kind).to_string()).join(" / ")
            }));
            rows.push(row);
        };
        let mut start = 0;
        for (name, length) in &self.classes {
            row(name, start..start + length);
            start += length;
        }
        row("all", 0..start);
        rows
    }

    /// Compares each server's column with that of the document, or with `BLESS=1` writes the document.
    ///
    /// # Panics
    /// Where they differ.
    pub fn compare_with_the_document(&self) {
        let path = workspace_root().join("docs/testing.md");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(START).unwrap();
        let (written, after) = rest.split_once(END).unwrap();
        let columns = |table: &str| -> Vec<Vec<String>> {
            let rows: Vec<Vec<String>> = table
                .lines()
                .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
                .collect();
            let width = rows.first().map_or(0, Vec::len);
            (0..width).map(|at| rows.iter().filter_map(|row| row.get(at).cloned()).collect()).collect()
        };
        let now = self.to_string();
        let (now_columns, known) = (columns(&now), columns(written));
        // A machine without an optional server has no column to compare.
        if now_columns.iter().all(|column| known.contains(column)) {
            return;
        }
        assert!(
            std::env::var_os("BLESS").is_some() && now_columns.len() >= known.len(),
            "the table in {} is not what the servers do; BLESS=1 writes it on a machine with every server",
            path.display()
        );
        fs::write(&path, [before, START, &now, END, after].concat()).unwrap();
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| class | spellings | {} |", self.servers.join(" | "))?;
        writeln!(formatter, "|---|---|{}", "---|".repeat(self.servers.len()))?;
        self.rows().into_iter().try_for_each(|row| writeln!(formatter, "| {} |", row.join(" | ")))
    }
}
