//! The costs as a picture.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{Figure, Report};
use crate::subject::Kind;

const WIDTH: i32 = 1_000;
/// What a bar and the space above it take.
const ROW: i32 = 22;
const BAR: i32 = 14;
/// Above the bars: the title, the colours, the scale.
const HEAD: i32 = 80;
const LABELS: i32 = 470;
const RIGHT: i32 = 60;
const TEXT: i32 = 13;
/// Where the scale ends, in µs: what costs more has a bar to the edge, and its figure.
const MOST: f64 = 60.0;

/// A bar for each filter, a line for the middle half of what was measured.
pub fn plot(report: &Report) -> Result<String> {
    let figures: Vec<&Figure> = report.figures.iter().filter(|figure| figure.kind.is_some()).collect();
    let height = HEAD + ROW * i32::try_from(figures.len())? + ROW;
    let mut svg = String::new();
    draw(&mut svg, &figures, height).map_err(|error| anyhow!("the plot: {error}"))?;
    Ok(svg)
}

type Failed = Box<dyn std::error::Error>;

fn draw(svg: &mut String, figures: &[&Figure], height: i32) -> Result<(), Failed> {
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::with_string(svg, size).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    let right = |size| text(size).pos(Pos::new(HPos::Right, VPos::Center));
    let left = |size| text(size).pos(Pos::new(HPos::Left, VPos::Center));
    let title = "CPU time of Envoy's worker for a request, more than without a filter, in µs";
    area.draw(&Text::new(title, (WIDTH / 2, 18), text(16).pos(Pos::new(HPos::Center, VPos::Center))))?;

    let most = figures.iter().map(|figure| figure.cost.high).fold(1.0, f64::max).min(MOST);
    let x = |cost: f64| {
        LABELS + (cost.clamp(0.0, most) / most * f64::from(WIDTH - LABELS - RIGHT)).round() as i32
    };
    let mut at = LABELS;
    for kind in [Kind::Plugin, Kind::Sdk, Kind::Native, Kind::Lua] {
        area.draw(&Rectangle::new([(at, 38), (at + BAR, 38 + BAR)], colour(kind).filled()))?;
        area.draw(&Text::new(name(kind), (at + BAR + 6, 38 + BAR / 2), left(TEXT)))?;
        at += 130;
    }
    for mark in marks(most) {
        let x = x(mark);
        area.draw(&PathElement::new([(x, HEAD - 8), (x, height - ROW / 2)], BLACK.mix(0.15)))?;
        let label = text(TEXT).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new(format!("{mark}"), (x, HEAD - 15), label))?;
    }
    for (row, figure) in figures.iter().enumerate() {
        let top = HEAD + ROW * i32::try_from(row)?;
        let middle = top + BAR / 2;
        let Figure { label, kind, cost, .. } = figure;
        area.draw(&Text::new(label.clone(), (LABELS - 8, middle), right(TEXT)))?;
        let colour = colour(kind.unwrap_or(Kind::Sdk));
        area.draw(&Rectangle::new([(LABELS, top), (x(cost.median), top + BAR)], colour.filled()))?;
        area.draw(&PathElement::new([(x(cost.low), middle), (x(cost.high), middle)], BLACK))?;
        area.draw(&Text::new(format!("{:.1}", cost.median), (x(cost.high) + 6, middle), left(TEXT)))?;
    }
    area.present()?;
    drop(area);
    Ok(())
}

/// At most ten round numbers.
fn marks(most: f64) -> impl Iterator<Item = f64> {
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
    let step = steps.into_iter().find(|step| most / step <= 10.0).unwrap_or(1_000.0);
    (0..).map(move |mark| f64::from(mark) * step).take_while(move |mark| *mark <= most)
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Plugin => "plugin",
        Kind::Sdk => "SDK alone",
        Kind::Native => "Envoy's own",
        Kind::Lua | Kind::Operation => "Lua",
    }
}

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::Plugin => RGBColor(0x2b, 0x6c, 0xb0),
        Kind::Sdk => RGBColor(0x71, 0x80, 0x96),
        Kind::Native => RGBColor(0x38, 0xa1, 0x69),
        Kind::Lua | Kind::Operation => RGBColor(0xdd, 0x6b, 0x20),
    }
}
