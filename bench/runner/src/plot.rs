//! The picture in the README: cost against entries.

use crate::{
    Failure,
    results::{Results, Row, grouped},
};
use plotters::{coord::Shift, prelude::*};

/// Where it goes, from the root of the workspace.
pub(crate) const FILE: &str = "docs/src/store-cost.svg";

const SIZE: (u32, u32) = (1_080, 400);
const LEGEND_HEIGHT: u32 = 34;
const GRID: RGBColor = RGBColor(220, 220, 220);

/// Contestants, their names in the legend, and their colours.
const CONTESTANTS: [(&str, &str, RGBColor); 3] = [
    ("store", "this library", RGBColor(0, 90, 200)),
    ("two_btrees", "two StableBTreeMaps", RGBColor(210, 90, 0)),
    (
        "heap_pair",
        "map and queue on the heap",
        RGBColor(110, 110, 110),
    ),
];

/// Benchmarks, and what they are to a reader.
const PANELS: [(&str, &str); 3] = [
    ("insert_charged", "a new request"),
    ("hit", "a retry"),
    ("expire_each", "forgetting one, of many"),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The plot, as SVG.
pub(crate) fn svg(results: &Results) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (legend, charts) = root.split_vertically(LEGEND_HEIGHT);
        draw_legend(&legend)?;
        let panels = charts.split_evenly((1, PANELS.len()));
        for (panel, (benchmark, title)) in panels.iter().zip(PANELS) {
            draw_panel(panel, results, benchmark, title)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn draw_legend(area: &Area<'_>) -> Result<(), Failure> {
    let width = SIZE.0 as i32 / CONTESTANTS.len() as i32;
    for (x, (_, label, colour)) in (60..).step_by(width as usize).zip(CONTESTANTS) {
        let middle = LEGEND_HEIGHT as i32 * 2 / 3;
        let line = [(x, middle), (x + 30, middle)];
        area.draw(&PathElement::new(line, style(colour)))?;
        let font = ("sans-serif", 16).into_font();
        area.draw(&Text::new(label, (x + 40, middle - 8), font))?;
    }
    Ok(())
}

fn style(colour: RGBColor) -> ShapeStyle {
    colour.filled().stroke_width(2)
}

fn draw_panel(
    area: &Area<'_>,
    results: &Results,
    benchmark: &str,
    title: &str,
) -> Result<(), Failure> {
    let lines = CONTESTANTS.map(|(contestant, _, colour)| {
        let rows = results.of(&format!("{contestant}/{benchmark}"));
        (points(&rows), colour)
    });
    let all = lines.iter().flat_map(|(points, _)| points);
    let most = all.map(|point| point.0).fold(10_000.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(
            (1_000.0..most * 1.3).log_scale(),
            (100.0..1_000_000.0).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("requests held")
        .y_desc("instructions")
        .x_label_formatter(&|entries| short(*entries))
        .y_label_formatter(&|instructions| short(*instructions))
        .max_light_lines(0)
        .bold_line_style(GRID)
        .draw()?;
    for (points, colour) in lines {
        chart.draw_series(LineSeries::new(points, style(colour)).point_size(3))?;
    }
    Ok(())
}

fn points(rows: &[&Row]) -> Vec<(f64, f64)> {
    (rows.iter())
        .map(|row| (row.entries as f64, row.median.max(1) as f64))
        .collect()
}

fn short(number: f64) -> String {
    match number {
        1e6.. => format!("{}M", grouped((number / 1e6).round() as u64)),
        1e3.. => format!("{}k", grouped((number / 1e3).round() as u64)),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_panel_has_its_title_and_each_colour_its_name() {
        let mut results = Results::default();
        for (contestant, ..) in CONTESTANTS {
            for (benchmark, _) in PANELS {
                for entries in [1_000, 1_000_000] {
                    let name = format!("{contestant}/{benchmark}");
                    results.add(&name, entries, entries / 10, entries, None);
                }
            }
        }
        let svg = svg(&results).expect("it can be drawn");
        for (_, title) in PANELS {
            assert_eq!(svg.matches(title).count(), 1, "{title}");
        }
        for (_, label, _) in CONTESTANTS {
            assert_eq!(svg.matches(label).count(), 1, "{label}");
        }
    }
}
