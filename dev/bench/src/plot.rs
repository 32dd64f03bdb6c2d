//! Bars with a labelled axis, as SVG.
use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::statistics::short;

/// In pixels.
const WIDTH: u32 = 860;
const BAR_HEIGHT: u32 = 34;
/// Title, axis and margins.
const REST_HEIGHT: u32 = 110;
const LABEL_WIDTH: u32 = 250;

const OURS: RGBColor = RGBColor(29, 99, 180);
const THEIRS: RGBColor = RGBColor(150, 158, 168);

/// A plot of some values side by side.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    /// The axis's title: the quantity and its unit.
    pub(crate) axis: &'static str,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) is_ours: bool,
}

/// Draws the bars from top to bottom in their order.
pub(crate) fn svg(plot: &Bars) -> Result<String> {
    let mut text = String::new();
    draw(plot, &mut text).map_err(|error| anyhow!("draw {}: {error}", plot.file))?;
    Ok(text)
}

fn draw(plot: &Bars, into: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let count = plot.bars.len();
    let size = (WIDTH, REST_HEIGHT + BAR_HEIGHT * u32::try_from(count)?);
    let area = SVGBackend::with_string(into, size).into_drawing_area();
    area.fill(&WHITE)?;
    let largest = plot.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    // Room for the number behind the longest bar.
    let right = if largest > 0.0 { largest * 1.15 } else { 1.0 };
    let mut chart = ChartBuilder::on(&area)
        .caption(plot.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(LABEL_WIDTH)
        .build_cartesian_2d(0.0..right, 0.0..count as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc(plot.axis)
        .x_labels(6)
        .x_label_formatter(&|value| format!("{value:.1}").trim_end_matches(".0").to_owned())
        .axis_desc_style(("sans-serif", 15))
        .label_style(("sans-serif", 14))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (place, bar) in plot.bars.iter().rev().enumerate() {
        let bottom = place as f64;
        let color = if bar.is_ours { OURS } else { THEIRS };
        chart.draw_series([Rectangle::new(
            [(0.0, bottom + 0.18), (bar.value, bottom + 0.82)],
            color.filled(),
        )])?;
        let number =
            Text::new(short(bar.value), (bar.value + right / 100.0, bottom + 0.65), ("sans-serif", 14));
        chart.draw_series([number])?;
        let right_aligned =
            TextStyle::from(("sans-serif", 14).into_font()).pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Right,
                plotters::style::text_anchor::VPos::Center,
            ));
        let (x, y) = chart.backend_coord(&(0.0, bottom + 0.5));
        area.draw_text(&bar.label, &right_aligned, (x - 8, y))?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_every_bar_its_value_and_the_unit() {
        let bar = |label: &str, value, is_ours| Bar { label: label.to_owned(), value, is_ours };
        let bars = vec![bar("Norvalt", 3000.0, true), bar("another", 12.5, false)];
        let svg = svg(&Bars { file: "a.svg", title: "Rate", axis: "requests per second", bars }).unwrap();
        for text in ["Rate", "requests per second", "Norvalt", "3000", "another", "12.5"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }

    #[test]
    fn a_plot_without_bars_can_be_drawn() {
        assert!(svg(&Bars { file: "a.svg", title: "Rate", axis: "s", bars: Vec::new() }).is_ok());
    }
}
