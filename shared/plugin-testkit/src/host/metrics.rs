//! Counters, gauges and histograms.

use std::collections::{BTreeMap, HashMap};

use proxy_wasm::types::Status;

use super::{Host, HostResult};

/// The lowest two bits of an id are the kind of its metric, as in Envoy.
const KIND: u32 = 3;
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const HISTOGRAM: u32 = 2;

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    ids: HashMap<u32, String>,
    values: BTreeMap<(u32, String), u64>,
    histograms: BTreeMap<String, Vec<u64>>,
}

impl Metrics {
    /// The counter or gauge; 0 where there is none.
    pub(crate) fn value(&self, name: &str) -> u64 {
        let value = |kind| self.values.get(&(kind, name.to_owned()));
        value(COUNTER).or_else(|| value(GAUGE)).copied().unwrap_or_default()
    }

    pub(crate) fn histogram(&self, name: &str) -> Vec<u64> {
        self.histograms.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn values(&self) -> BTreeMap<String, u64> {
        self.values.iter().map(|((_, name), value)| (name.clone(), *value)).collect()
    }

    fn cell(&mut self, id: u32) -> HostResult<&mut u64> {
        let name = self.ids.get(&id).ok_or(Status::NotFound)?;
        Ok(self.values.entry((id & KIND, name.clone())).or_default())
    }
}

impl Host {
    fn trace_metric(&mut self, verb: &str, id: u32) {
        let name = self.metrics.ids.get(&id).cloned().unwrap_or_else(|| format!("#{id}"));
        self.trace(format!("metric.{verb} {name}"));
    }

    /// Each definition is a new id, also of a metric that exists.
    pub(crate) fn define_metric(&mut self, kind: u32, name: String) -> HostResult<u32> {
        self.trace(format!("metric.define {name}"));
        match kind {
            COUNTER | GAUGE => {
                self.metrics.values.entry((kind, name.clone())).or_default();
            }
            HISTOGRAM => {
                self.metrics.histograms.entry(name.clone()).or_default();
            }
            _ => return Err(Status::BadArgument),
        }
        let id = (u32::try_from(self.metrics.ids.len()).unwrap() + 1) * 4 + kind;
        self.metrics.ids.insert(id, name);
        Ok(id)
    }

    pub(crate) fn increment_metric(&mut self, id: u32, offset: i64) -> HostResult<()> {
        self.trace_metric("add", id);
        match id & KIND {
            COUNTER | GAUGE => {
                let value = self.metrics.cell(id)?;
                if id & KIND == COUNTER && offset <= 0 {
                    return Err(Status::BadArgument);
                }
                *value = value.wrapping_add_signed(offset);
                Ok(())
            }
            _ => Err(Status::BadArgument),
        }
    }

    pub(crate) fn record_metric(&mut self, id: u32, value: u64) -> HostResult<()> {
        self.trace_metric("record", id);
        match id & KIND {
            COUNTER => {
                let cell = self.metrics.cell(id)?;
                *cell = cell.wrapping_add(value);
            }
            GAUGE => *self.metrics.cell(id)? = value,
            _ => {
                let name = self.metrics.ids.get(&id).ok_or(Status::NotFound)?;
                self.metrics.histograms.entry(name.clone()).or_default().push(value);
            }
        }
        Ok(())
    }

    pub(crate) fn get_metric(&mut self, id: u32) -> HostResult<u64> {
        self.trace_metric("get", id);
        match id & KIND {
            COUNTER | GAUGE => self.metrics.cell(id).copied(),
            _ => Err(Status::BadArgument),
        }
    }
}
