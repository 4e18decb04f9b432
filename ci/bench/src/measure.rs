//! The rounds: each subject between two measurements of the same requests without a filter.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cpu::Worker;
use crate::load::{Saturation, Target};
use crate::progress::Progress;
use crate::stage::Stage;
use crate::subject::Group;

/// How long a subject is measured at a time: shorter than the machine's moods.
const SLICE: Duration = Duration::from_millis(20);
/// Requests before each slice, so that connections are open and what the last one left is gone.
const WARM_UP: usize = 64;
/// Requests at first, so that V8 has compiled what runs often, and to learn how many fill a slice.
const FIRST: usize = 3_000;

/// What a slice says.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// CPU time of the worker, in microseconds a request.
    pub cpu: f64,
    /// Requests a second.
    pub rate: f64,
}

/// Every slice of a group.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Those without a filter.
    pub bare: Vec<Slice>,
    /// For each subject: itself, and the mean CPU time without a filter just before and after.
    pub subjects: Vec<Vec<(Slice, f64)>>,
}

/// How many requests fill a slice.
struct Sizes {
    bare: usize,
    subjects: Vec<usize>,
}

/// Measures every group that many times.
pub fn measure(stage: &Stage, groups: &[Group], rounds: usize) -> Result<Vec<Samples>> {
    let worker = Worker::of(stage.envoy.process_id())?;
    let progress = Progress::start("first requests", groups.len());
    let mut sizes = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        progress.step(&group.variant.name);
        let subjects = (0..group.subjects.len()).map(|number| {
            size(stage.subject(index, number), &worker).with_context(|| group.subjects[number].label.clone())
        });
        let subjects = subjects.collect::<Result<_>>()?;
        sizes.push(Sizes { bare: size(stage.bare(index), &worker)?, subjects });
    }
    drop(progress);

    let mut samples: Vec<Samples> = groups.iter().map(Samples::new).collect();
    let progress = Progress::start("CPU time", rounds * groups.len());
    for round in 0..rounds {
        let mut turns: Vec<usize> = (0..groups.len()).collect();
        // There and back again, so that none is always the one after another.
        let back = round % 2 == 1;
        if back {
            turns.reverse();
        }
        for index in turns {
            progress.step(&format!("round {} of {rounds}", round + 1));
            samples[index].add(stage, index, &sizes[index], back, &worker)?;
        }
    }
    Ok(samples)
}

impl Samples {
    fn new(group: &Group) -> Self {
        Self { bare: Vec::new(), subjects: vec![Vec::new(); group.subjects.len()] }
    }

    /// Measures each subject of the group once.
    fn add(&mut self, stage: &Stage, group: usize, sizes: &Sizes, back: bool, worker: &Worker) -> Result<()> {
        let mut numbers: Vec<usize> = (0..sizes.subjects.len()).collect();
        if back {
            numbers.reverse();
        }
        let bare = || slice(stage.bare(group), sizes.bare, worker);
        let mut before = bare()?;
        for number in numbers {
            let measured = slice(stage.subject(group, number), sizes.subjects[number], worker)?;
            let after = bare()?;
            self.subjects[number].push((measured, f64::midpoint(before.cpu, after.cpu)));
            self.bare.push(after);
            before = after;
        }
        Ok(())
    }
}

fn size(target: Target, worker: &Worker) -> Result<usize> {
    let first = slice(target, FIRST, worker)?;
    Ok(((SLICE.as_secs_f64() * 1e6 / first.cpu) as usize).clamp(50, 5_000))
}

fn slice(target: Target, requests: usize, worker: &Worker) -> Result<Slice> {
    let mut load = Saturation::open(target)?;
    load.run(WARM_UP)?;
    let before = worker.cpu_time()?;
    let took = load.run(requests)?;
    let cpu = (worker.cpu_time()? - before) as f64 / 1e3 / requests as f64;
    Ok(Slice { cpu, rate: requests as f64 / took.as_secs_f64() })
}
