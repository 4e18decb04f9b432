//! The series of one metric: their names, and in each VM their ids.

use std::cell::RefCell;

use plugin_kit::hostcalls;
use plugin_kit::metrics::MetricType;
use plugin_kit::shared_data::key;

use crate::registry::{self, Answer, Registry};

/// The name of a series. Label names are in the order of the metric.
///
/// The host knows no labels. Envoy's `stats_tags`, or Istio's `extraStatTags`, cut `label=.=value;.;` out of the name.
pub fn name<'a>(metric: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut name = String::with_capacity(128);
    for (label, value) in labels {
        name.extend([label, "=.=", value, ";.;"]);
    }
    name.push_str(metric);
    name
}

/// The name of a series, and whether it has a route that clients chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    pub is_guessed: bool,
}

/// How many series a metric may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// In all.
    pub all: usize,
    /// With a route that is guessed.
    pub guessed: usize,
}

impl Bound {
    /// Where some routes are templates and some are guessed, half of the series are kept for templates.
    pub fn new(max_series: u32, are_mixed: bool) -> Self {
        let all = usize::try_from(max_series).unwrap_or(usize::MAX);
        Self { all, guessed: if are_mixed { all.div_ceil(2) } else { all } }
    }
}

/// The series of one metric in this VM.
#[derive(Debug)]
pub struct Series {
    kind: MetricType,
    bound: Bound,
    /// The name of the series that takes what comes after; `None` for a metric without labels, which is one series.
    overflow: Option<String>,
    registry: String,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    ids: Ids,
    /// All series, once no more are taken; from then on shared data is not read.
    full: Option<Registry>,
    /// All series, once no more with a guessed route are taken.
    full_of_guessed: Option<Registry>,
}

/// Ids by name, sorted; at most as many as the metric may have series, and one. (A `HashMap` costs 8 KiB more.) A
/// series that the host refused has no id, and is not asked for again.
#[derive(Debug, Default)]
struct Ids(Vec<(Box<str>, Option<u32>)>);

impl Ids {
    fn find(&self, name: &str) -> Result<Option<u32>, usize> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(name))?;
        Ok(self.0.get(at).and_then(|(_, id)| *id))
    }

    fn find_or_insert(&mut self, name: &str, define: impl FnOnce() -> Option<u32>) -> Option<u32> {
        self.find(name).unwrap_or_else(|at| {
            let id = define();
            self.0.insert(at, (name.into(), id));
            id
        })
    }
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// `None` where the host refused the series.
    pub id: Option<u32>,
    /// It went to the series of those that came too late.
    pub overflowed: bool,
    /// The number of series, where this one has just become one.
    pub count: Option<usize>,
    /// It is not known whether there may be one more series.
    pub undecided: bool,
}

impl Series {
    /// The series of a metric; `labels` are its label names.
    pub fn new(metric: &str, kind: MetricType, labels: &[&str], overflow_value: &str, bound: Bound) -> Self {
        let overflow = name(metric, labels.iter().map(|label| (*label, overflow_value)));
        // A new release is a new VM, and with the old one its series have gone.
        let registry = key(
            "custom-metrics",
            env!("CARGO_PKG_VERSION"),
            registry::FORMAT,
            &format!("{metric}{{{}}}", labels.join(",")),
        );
        let mut state = State::default();
        let mut hold = |name: &str| {
            state.ids.find_or_insert(name, || hostcalls::define_metric(kind, name).ok());
        };
        let overflow = (!labels.is_empty()).then_some(overflow);
        if let Some(overflow) = &overflow {
            let held = registry::held(&registry, bound);
            held.names.iter().for_each(|name| hold(name));
            if held.is_full {
                hold(overflow);
            }
        } else {
            hold(metric);
        }
        Self { kind, bound, overflow, registry, state: RefCell::new(state) }
    }

    /// The id for a series. One that is known costs no call to the host.
    pub fn find(&self, name: &Name) -> Found {
        let mut state = self.state.borrow_mut();
        let mut found = Found { id: None, overflowed: false, count: None, undecided: false };
        if let Ok(id) = state.ids.find(&name.text) {
            return Found { id, ..found };
        }
        let name = match &self.overflow {
            Some(overflow) if *overflow != name.text => {
                self.decide(&mut state, name, &mut found);
                if found.overflowed { overflow } else { &name.text }
            }
            _ => &name.text,
        };
        found.id = state.ids.find_or_insert(name, || hostcalls::define_metric(self.kind, name).ok());
        found
    }

    fn decide(&self, state: &mut State, name: &Name, found: &mut Found) {
        let full = if name.is_guessed { &mut state.full_of_guessed } else { &mut state.full };
        if full.is_none() {
            match registry::ask(&self.registry, name, self.bound) {
                Answer::Taken(count) => found.count = count,
                Answer::Full(registry) => *full = Some(registry),
                Answer::Unknown => {
                    found.overflowed = true;
                    found.undecided = true;
                }
            }
        }
        found.overflowed |= full.as_ref().is_some_and(|series| !series.has(&name.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_before_the_name() {
        let labels = [("route", "/users/{id}"), ("method", "GET")];
        assert_eq!(name("a_total", labels.into_iter()), "route=.=/users/{id};.;method=.=GET;.;a_total");
        assert_eq!(name("a_total", [].into_iter()), "a_total");
    }
}
