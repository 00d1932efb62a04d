//! Curves as SVG, and their points as CSV beside it.
//!
//! Where contenders differ by factors, and clients double, both axes are logarithmic; what happens over time has linear
//! ones.

mod bars;

pub use bars::Bars;

use plotters::coord::combinators::{BindKeyPoints, IntoLogRange};
use plotters::prelude::{
    ChartBuilder, Circle, Color, IntoDrawingArea, LineSeries, PathElement, RGBColor, SVGBackend, SeriesLabelPosition,
};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use thiserror::Error;

const SIZE: (u32, u32) = (800, 500);
const WHITE: RGBColor = RGBColor(255, 255, 255);
const BLACK: RGBColor = RGBColor(0, 0, 0);
/// Told apart also by who sees few colours (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// A chart couldn't be written.
#[derive(Debug, Error)]
pub enum PlotError {
    /// The file or its folder.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The drawing.
    #[error("drawing: {0}")]
    Drawing(Box<dyn Error + Send + Sync>),
}

/// One contender's points: clients, value.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The contender.
    pub name: String,
    /// Its points, in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
}

/// Curves of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What the curves show, with its unit; also what the vertical axis says.
    pub title: String,
    /// What lies on the horizontal axis.
    pub x: String,
    /// The curves.
    pub curves: Vec<Curve>,
    /// How values lie on the axes.
    pub scale: Scale,
}

/// How values lie on the axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Factors are distances.
    #[default]
    Logarithmic,
    /// Differences are.
    Linear,
}

impl Chart {
    /// Writes `STEM.svg` and `STEM.csv` into `folder`, which is made. Points that a logarithm can't show are left
    /// out of the picture; without any other there is none.
    pub fn write(&self, folder: &Path, stem: &str) -> Result<(), PlotError> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{stem}.csv")), self.csv())?;
        let svg = match self.scale {
            Scale::Logarithmic => self.svg()?,
            Scale::Linear => self.linear_svg()?,
        };
        if let Some(svg) = svg {
            fs::write(folder.join(format!("{stem}.svg")), svg)?;
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let mut out = format!("contender,{},{}\n", self.x, self.title);
        for curve in &self.curves {
            for (x, y) in &curve.points {
                let _ = writeln!(out, "{},{x},{y}", curve.name);
            }
        }
        out
    }

    fn svg(&self) -> Result<Option<String>, PlotError> {
        let shown = |curve: &Curve| -> Vec<(f64, f64)> {
            curve.points.iter().copied().filter(|(x, y)| *x > 0.0 && *y > 0.0).collect()
        };
        let all: Vec<(f64, f64)> = self.curves.iter().flat_map(shown).collect();
        let (Some((left, right)), Some((bottom, top))) =
            (bounds(all.iter().map(|(x, _)| *x)), bounds(all.iter().map(|(_, y)| *y)))
        else {
            return Ok(None);
        };
        let mut xs: Vec<f64> = all.iter().map(|(x, _)| *x).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE).map_err(drawing)?;
            let x_axis = (left / 1.2..right * 1.2).log_scale().with_key_points(xs);
            let y_axis = (bottom / 1.3..top * 1.3).log_scale().with_key_points(steps(bottom / 1.3, top * 1.3));
            let mut chart = ChartBuilder::on(&area)
                .caption(&self.title, ("sans-serif", 20))
                .margin(12)
                .x_label_area_size(40)
                .y_label_area_size(60)
                .build_cartesian_2d(x_axis, y_axis)
                .map_err(drawing)?;
            chart
                .configure_mesh()
                .x_desc(&self.x)
                .y_desc(&self.title)
                .light_line_style(WHITE)
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&|y| format!("{y}"))
                .draw()
                .map_err(drawing)?;
            for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle().copied()) {
                chart
                    .draw_series(LineSeries::new(shown(curve), colour.stroke_width(2)))
                    .map_err(drawing)?
                    .label(&curve.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
                let dots = shown(curve).into_iter().map(|point| Circle::new(point, 3, colour.filled()));
                chart.draw_series(dots).map_err(drawing)?;
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .draw()
                .map_err(drawing)?;
            area.present().map_err(drawing)?;
        }
        Ok(Some(svg))
    }

    fn linear_svg(&self) -> Result<Option<String>, PlotError> {
        let all = || self.curves.iter().flat_map(|curve| curve.points.iter().copied());
        let (Some((left, right)), Some((_, top))) = (bounds(all().map(|(x, _)| x)), bounds(all().map(|(_, y)| y)))
        else {
            return Ok(None);
        };
        let (right, top) = (right.max(left + 1e-9), top.max(1e-9) * 1.1);
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE).map_err(drawing)?;
            let mut chart = ChartBuilder::on(&area)
                .caption(&self.title, ("sans-serif", 20))
                .margin(12)
                .x_label_area_size(40)
                .y_label_area_size(60)
                .build_cartesian_2d(left..right, 0.0..top)
                .map_err(drawing)?;
            let mesh = &mut chart.configure_mesh();
            mesh.x_desc(&self.x).y_desc(&self.title).light_line_style(WHITE).draw().map_err(drawing)?;
            for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle().copied()) {
                chart
                    .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))
                    .map_err(drawing)?
                    .label(&curve.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            }
            let labels = &mut chart.configure_series_labels();
            labels.position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.8));
            labels.border_style(BLACK.mix(0.3)).draw().map_err(drawing)?;
            area.present().map_err(drawing)?;
        }
        Ok(Some(svg))
    }
}

fn drawing<E: Error + Send + Sync + 'static>(error: E) -> PlotError {
    PlotError::Drawing(Box::new(error))
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |bounds, value| {
        Some(bounds.map_or((value, value), |(low, high): (f64, f64)| (low.min(value), high.max(value))))
    })
}

/// 1, 2 and 5 times the powers of ten within the range.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let steps = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power)));
    steps.filter(|step| (low..=high).contains(step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart {
        let curve = |name: &str, factor: f64| Curve {
            name: name.to_owned(),
            points: points.iter().map(|(x, y)| (*x, *y * factor)).collect(),
        };
        let curves = vec![curve("skink", 1.0), curve("etcd", 0.1)];
        let scale = Scale::Logarithmic;
        Chart { title: "SET throughput, k/s".to_owned(), x: "clients".to_owned(), curves, scale }
    }

    #[test]
    fn a_chart_is_a_picture_and_its_points() {
        let folder = tempfile::tempdir().unwrap();
        chart(&[(1.0, 2.0), (64.0, 30.0), (512.0, 45.0)]).write(&folder.path().join("new"), "throughput").unwrap();
        let svg = fs::read_to_string(folder.path().join("new/throughput.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["SET throughput, k/s", "skink", "etcd", "512"] {
            assert!(svg.contains(text), "{text}");
        }
        let joined = |line: &&str| line.contains("<polyline") && line.contains("stroke-width=\"2\"");
        assert_eq!(svg.lines().filter(joined).count(), 2 + 2, "curves, and their lines in the legend");
        assert_eq!(svg.matches("<circle").count(), 6);
        let csv = fs::read_to_string(folder.path().join("new/throughput.csv")).unwrap();
        assert_eq!(csv.lines().count(), 1 + 6);
        assert!(csv.contains("skink,64,30\n"));
    }

    #[test]
    fn what_happens_over_time_may_begin_at_nothing() {
        let chart = Chart { scale: Scale::Linear, ..chart(&[(0.0, 0.0), (1.0, 7.0)]) };
        assert!(chart.linear_svg().unwrap().is_some_and(|svg| svg.contains("<polyline")));
        assert!(Chart { curves: Vec::new(), ..chart }.linear_svg().unwrap().is_none());
    }

    #[test]
    fn what_a_logarithm_cannot_show_is_no_picture() {
        assert!(chart(&[]).svg().unwrap().is_none());
        assert!(chart(&[(1.0, 0.0)]).svg().unwrap().is_none());
        assert!(chart(&[(1.0, 5.0)]).svg().unwrap().is_some(), "a single point is one");
    }

    #[test]
    fn steps_lie_within_their_range() {
        assert_eq!(steps(0.4, 30.0), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
    }
}
