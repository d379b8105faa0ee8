//! The picture: latency of the healthy client and memory of the server over time, a panel for each
//! attack.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use portcullis_tests::gauntlet::{Failure, Report};

use crate::pixels::Pixels;

const COLUMNS: usize = 6;
/// The size of a panel.
const WIDTH: u32 = 240;
const HEIGHT: u32 = 92;
/// The height of the legend.
const LEGEND: u32 = 44;
/// Points of a curve, at most.
const POINTS: usize = 40;

const LATENCY: RGBColor = RGBColor(31, 119, 180);
const MEMORY: RGBColor = RGBColor(214, 120, 20);
const SPAN: RGBColor = RGBColor(238, 238, 238);
const FALLEN: RGBColor = RGBColor(200, 0, 0);

/// Draws to a file whose name ends with `.svg` or `.png`. Of an attack that was played at several
/// places, the first one is drawn, or else the first one whose verdict falls.
pub(crate) fn draw(file: &Path, reports: &[Report]) -> Result<(), Failure> {
    let panels = panels(reports);
    let rows = panels.len().div_ceil(COLUMNS).max(1);
    let size = (WIDTH * COLUMNS as u32, LEGEND + HEIGHT * rows as u32);
    match file.extension().and_then(|it| it.to_str()) {
        Some("svg") => on(SVGBackend::new(file, size), &panels, rows),
        Some("png") => on(Pixels(BitMapBackend::new(file, size)), &panels, rows),
        _ => Err(format!("{}: the name must end with .svg or .png", file.display()).into()),
    }
}

fn panels(reports: &[Report]) -> Vec<&Report> {
    let mut panels: Vec<&Report> = Vec::new();
    for report in reports {
        match panels.iter_mut().find(|panel| panel.name == report.name) {
            None => panels.push(report),
            Some(panel) if panel.faults.is_empty() && !report.faults.is_empty() => *panel = report,
            Some(_) => {}
        }
    }
    panels
}

fn on<B: DrawingBackend>(backend: B, panels: &[&Report], rows: usize) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (legend, rest) = root.split_vertically(LEGEND);
    let text = |color: &RGBColor| ("sans-serif", 13).into_font().color(color);
    legend.draw_text(
        "healthy client's latency, 0.01 to 100 ms, logarithmic",
        &text(&LATENCY),
        (8, 4),
    )?;
    legend.draw_text("memory of the server, its range in the panel", &text(&MEMORY), (8, 22))?;
    let note = "grey: the attack runs; the frame is red if the verdict falls";
    legend.draw_text(note, &text(&BLACK), (WIDTH as i32 * 3, 4))?;
    for (area, report) in rest.split_evenly((rows, COLUMNS)).iter().zip(panels) {
        panel(area, report)?;
    }
    root.present()?;
    Ok(())
}

fn panel<B: DrawingBackend>(area: &DrawingArea<B, Shift>, report: &Report) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let holds = report.faults.is_empty();
    let (width, height) = area.dim_in_pixel();
    let (width, height) = (width as i32, height as i32);
    let frame = if holds { RGBColor(200, 200, 200) } else { FALLEN };
    let title = format!("{} ({})", report.name, report.place);
    area.draw_text(&title, &("sans-serif", 12).into_font().color(&BLACK), (6, 3))?;

    let (left, right, top, bottom) = (4, width - 5, 18, height - 6);
    let ends = [&report.latency_series, &report.memory_series];
    let ends = ends.iter().filter_map(|series| series.last());
    let end = ends.map(|(at, _)| *at).fold(report.span.1, f64::max).max(0.1);
    let x = |at: f64| left + (at / end * f64::from(right - left)) as i32;
    let span = [(x(report.span.0), top), (x(report.span.1), bottom)];
    area.draw(&Rectangle::new(span, SPAN.filled()))?;
    area.draw(&Rectangle::new([(left, top), (right, bottom)], frame))?;

    let y = |share: f64| bottom - (share.clamp(0.0, 1.0) * f64::from(bottom - top)) as i32;
    let memory = thin(&report.memory_series, end);
    let values = || memory.iter().map(|(_, bytes)| *bytes as f64);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if !memory.is_empty() {
        // A range of a megabyte at least: less is noise.
        let range = (most - least).max((1 << 20) as f64);
        let points = memory.iter().map(|(at, bytes)| (x(*at), y((*bytes as f64 - least) / range)));
        area.draw(&PathElement::new(points.collect::<Vec<_>>(), MEMORY))?;
        let text = format!("{:.1} to {:.1} MiB", least / 1048576.0, most / 1048576.0);
        let style = ("sans-serif", 11).into_font().color(&MEMORY);
        area.draw_text(&text, &style, (left + 3, top + 1))?;
    }
    // From 10 µs to 100 ms: four powers of ten.
    let height = |micros: u64| y(((micros.max(1) as f64).log10() - 1.0) / 4.0);
    let points = thin(&report.latency_series, end);
    let points: Vec<_> = points.iter().map(|(at, micros)| (x(*at), height(*micros))).collect();
    area.draw(&PathElement::new(points, LATENCY))?;
    Ok(())
}

/// The largest value of each part of the time.
fn thin(series: &[(f64, u64)], end: f64) -> Vec<(f64, u64)> {
    let mut points: Vec<(f64, u64)> = Vec::new();
    let mut part = usize::MAX;
    for (at, value) in series {
        let now = (at / end * POINTS as f64) as usize;
        match points.last_mut() {
            Some(last) if now == part => last.1 = last.1.max(*value),
            _ => points.push((*at, *value)),
        }
        part = now;
    }
    points
}
