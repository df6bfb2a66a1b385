//! Plots as SVG text, drawn by `plotters`. Colours are names here: the page's style sheet gives
//! each its colour, so that a plot can be read in light and in dark.

use plotters::coord::combinators::LogCoord;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    ChartBuilder, IntoDrawingArea as _, IntoLogRange as _, LineSeries, RGBColor, Ranged, SVGBackend,
};
use plotters::style::{Color as _, IntoFont as _, ShapeStyle};

use crate::report::figures::float;
use crate::report::wording::{count, ms};

/// Size in the units of the drawing; the page scales it.
const SIZE: (u32, u32) = (760, 260);
/// Points of one curve; more are gathered.
const POINTS_MAX: usize = 600;
/// Colours that stand for others: see `report.css`. The curves are 0x10 and following.
const TEXT: RGBColor = RGBColor(0, 0, 1);
const AXIS: RGBColor = RGBColor(0, 0, 2);
const GRID: RGBColor = RGBColor(0, 0, 3);
const CURVE: u8 = 0x10;

/// What an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// A rate or a count, from 0.
    Count,
    /// Milliseconds, logarithmic.
    Milliseconds,
    /// Mebibytes, from 0.
    Mebibytes,
    /// Processors, from 0.
    Processors,
    /// Seconds, along the bottom.
    Seconds,
    /// Nines of a distribution, along the bottom: 1 is 90 %, 2 is 99 %.
    Nines,
}

/// One curve.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// What the legend says.
    pub(crate) name: String,
    /// Where it is, by x.
    pub(crate) points: Vec<(f64, f64)>,
    /// Number of its colour in the style sheet, from 0.
    pub(crate) colour: u8,
}

/// A plot: several curves over one axis.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    pub(crate) across: Scale,
    pub(crate) up: Scale,
    pub(crate) curves: Vec<Curve>,
}

impl Curve {
    /// A curve; points that are no numbers are left out.
    pub(crate) fn new(
        name: impl Into<String>,
        colour: u8,
        points: impl Iterator<Item = (f64, f64)>,
    ) -> Self {
        let points: Vec<(f64, f64)> = points
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .collect();
        Self {
            name: name.into(),
            points: gather(points),
            colour,
        }
    }
}

/// Of many points the highest of each few: a peak stays a peak.
fn gather(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let width = points.len().div_ceil(POINTS_MAX).max(1);
    if width == 1 {
        return points;
    }
    points
        .chunks(width)
        .filter_map(|chunk| chunk.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)))
        .collect()
}

impl Plot {
    /// The drawing; none when there is nothing to draw.
    pub(crate) fn svg(&self) -> Result<Option<String>, String> {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let (left, right) = bounds(points().map(|(x, _)| *x));
        let (low, high) = bounds(points().map(|(_, y)| *y));
        if points().count() < 2 || right <= left {
            return Ok(None);
        }

        let left = if self.across == Scale::Count {
            left
        } else {
            0.0
        };
        let mut svg = String::new();

        if self.up == Scale::Milliseconds {
            // Whole decades would waste half of the drawing.
            let (low, high) = (low.max(0.01) / 1.3, high.max(0.02) * 1.3);
            self.draw(
                &mut svg,
                left..right,
                LogCoord::from((low..high).log_scale()),
            )?;
        } else {
            self.draw(
                &mut svg,
                left..right,
                RangedCoordf64::from(0.0..(high * 1.1).max(1e-3)),
            )?;
        }

        Ok(Some(for_a_page(&svg)))
    }

    fn draw<Y>(&self, svg: &mut String, across: std::ops::Range<f64>, up: Y) -> Result<(), String>
    where
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let told = |error: &dyn std::fmt::Display| format!("drawing a plot: {error}");
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .margin_right(24)
            .x_label_area_size(34)
            .y_label_area_size(84)
            .build_cartesian_2d(across, up)
            .map_err(|error| told(&error))?;
        chart
            .configure_mesh()
            .x_labels(9)
            .y_labels(if self.up == Scale::Milliseconds {
                10
            } else {
                6
            })
            .max_light_lines(0)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(("sans-serif", 17).into_font().color(&TEXT))
            .x_label_formatter(&|value| self.across.label(*value))
            .y_label_formatter(&|value| self.up.label(*value))
            .draw()
            .map_err(|error| told(&error))?;
        for curve in &self.curves {
            let style = ShapeStyle {
                color: RGBColor(0, 0, CURVE + curve.colour).to_rgba(),
                filled: false,
                stroke_width: 2,
            };
            let points = curve.points.iter().copied();
            let above = points.map(|(x, y)| {
                (
                    x,
                    if self.up == Scale::Milliseconds {
                        y.max(0.01)
                    } else {
                        y
                    },
                )
            });
            chart
                .draw_series(LineSeries::new(above, style))
                .map_err(|error| told(&error))?;
        }
        area.present().map_err(|error| told(&error))
    }
}

impl Scale {
    fn label(self, value: f64) -> String {
        match self {
            Self::Count => count(value),
            Self::Milliseconds if value >= 1.0 => format!("{} ms", count(value)),
            Self::Milliseconds => format!("{} ms", ms(value)),
            Self::Mebibytes => format!("{} MiB", count(value)),
            Self::Processors => format!("{value:.2}"),
            Self::Seconds => format!("{} s", count(value)),
            // 0 is all of them, 1 is 90 %, 2 is 99 %.
            Self::Nines if value.fract().abs() > 1e-6 => String::new(),
            Self::Nines if value < 0.5 => "0 %".to_owned(),
            Self::Nines => {
                let decimals = if value < 2.5 { 0.0 } else { value - 2.0 };
                format!(
                    "{:.*} %",
                    DECIMALS.iter().filter(|many| **many <= decimals).count(),
                    100.0 - 10_f64.powf(2.0 - value)
                )
            }
        }
    }
}

/// One, two, … digits behind the point.
const DECIMALS: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];

/// Where a share stands on the axis of nines; all of `values` stands where one of them would.
pub(crate) fn nines(share: f64, values: u64) -> f64 {
    let left = (1.0 - share).max(1.0 / float(values.max(2)));
    -left.log10()
}

/// The lowest and the highest.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

/// As wide as the page lets it be.
fn for_a_page(svg: &str) -> String {
    let (width, height) = SIZE;
    let fixed = format!(r#"<svg width="{width}" height="{height}""#);
    svg.replacen(&fixed, r#"<svg role="img""#, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(up: Scale, points: &[(f64, f64)]) -> Plot {
        let curve = Curve::new("one", 0, points.iter().copied());
        Plot {
            across: Scale::Seconds,
            up,
            curves: vec![curve],
        }
    }

    #[test]
    fn a_plot_is_one_svg_with_its_curve_and_labels_and_nothing_from_elsewhere() {
        for up in [
            Scale::Count,
            Scale::Milliseconds,
            Scale::Mebibytes,
            Scale::Processors,
        ] {
            let svg = plot(up, &[(1.0, 2.0), (2.0, 900.0), (3.0, 0.0)])
                .svg()
                .unwrap()
                .unwrap();
            assert!(
                svg.starts_with("<svg role=") && svg.trim_end().ends_with("</svg>"),
                "{svg}"
            );
            assert!(
                svg.contains("polyline") && svg.contains("#000010") && svg.contains(" s\n"),
                "{svg}"
            );
            let addresses = svg.matches("http").count();
            assert_eq!(
                addresses,
                svg.matches("http://www.w3.org/2000/svg").count(),
                "only the name of the format"
            );
        }
    }

    #[test]
    fn nothing_to_draw_is_no_drawing() {
        assert!(plot(Scale::Count, &[]).svg().unwrap().is_none());
        assert!(plot(Scale::Count, &[(1.0, 1.0)]).svg().unwrap().is_none());
        assert!(
            plot(Scale::Milliseconds, &[(1.0, 0.0), (2.0, 0.0)])
                .svg()
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_long_run_keeps_its_peaks() {
        let peak = |x: f64| {
            (
                x,
                if (x - 7_777.0).abs() < 0.1 {
                    1_000.0
                } else {
                    1.0
                },
            )
        };
        let curve = Curve::new("one", 0, (0..20_000_u32).map(f64::from).map(peak));
        assert!(curve.points.len() <= POINTS_MAX);
        assert!(curve.points.iter().any(|(_, y)| *y > 999.0));
    }

    #[test]
    fn the_axis_of_nines_names_shares() {
        let labels: Vec<String> = [0.0, 1.0, 2.0, 3.0, 4.0]
            .into_iter()
            .map(|value| Scale::Nines.label(value))
            .collect();
        assert_eq!(labels, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        assert!((nines(0.99, 1_000_000) - 2.0).abs() < 1e-9);
        assert!((nines(1.0, 1_000) - 3.0).abs() < 1e-9);
    }
}
