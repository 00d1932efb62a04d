//! Stacked bars as SVG, and their parts as CSV beside it.

use super::{BLACK, COLOURS, PlotError, SIZE, WHITE, drawing};
use plotters::coord::ranged1d::IntoSegmentedCoord;
use plotters::prelude::{
    ChartBuilder, Color, IntoDrawingArea, Rectangle, SVGBackend, SegmentValue, SeriesLabelPosition,
};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What adds up to something, side by side for several contenders.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// What a bar's height is, with its unit.
    pub title: String,
    /// Names of the parts, from the bottom up.
    pub parts: Vec<String>,
    /// Contenders, and their parts' heights.
    pub bars: Vec<(String, Vec<f64>)>,
}

impl Bars {
    /// Writes `STEM.svg` and `STEM.csv` into `folder`, which is made. Without a bar there is no picture.
    ///
    /// # Errors
    /// The files, or the drawing.
    pub fn write(&self, folder: &Path, stem: &str) -> Result<(), PlotError> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{stem}.csv")), self.csv())?;
        if let Some(svg) = self.svg()? {
            fs::write(folder.join(format!("{stem}.svg")), svg)?;
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let mut out = format!("contender,part,{}\n", self.title);
        for (name, heights) in &self.bars {
            for (part, height) in self.parts.iter().zip(heights) {
                let _ = writeln!(out, "\"{name}\",{part},{height}");
            }
        }
        out
    }

    fn svg(&self) -> Result<Option<String>, PlotError> {
        let top = self.bars.iter().map(|(_, heights)| heights.iter().sum::<f64>()).fold(0.0, f64::max);
        if self.bars.is_empty() || top <= 0.0 {
            return Ok(None);
        }
        let mut svg = String::new();
        {
            // So wide that names don't overlap.
            let width = SIZE.0.max(140 + 110 * self.bars.len() as u32);
            let area = SVGBackend::with_string(&mut svg, (width, SIZE.1)).into_drawing_area();
            area.fill(&WHITE).map_err(drawing)?;
            let mut chart = ChartBuilder::on(&area)
                .caption(&self.title, ("sans-serif", 20))
                .margin(12)
                .x_label_area_size(40)
                .y_label_area_size(60)
                .build_cartesian_2d((0..self.bars.len()).into_segmented(), 0.0..top * 1.2)
                .map_err(drawing)?;
            let name = |at: &SegmentValue<usize>| match at {
                SegmentValue::CenterOf(number) => {
                    self.bars.get(*number).map_or(String::new(), |(name, _)| name.clone())
                }
                _ => String::new(),
            };
            let mesh = &mut chart.configure_mesh();
            mesh.disable_x_mesh().light_line_style(WHITE).y_desc(&self.title);
            mesh.x_labels(self.bars.len()).x_label_formatter(&name).draw().map_err(drawing)?;
            for (part, colour) in COLOURS.iter().cycle().take(self.parts.len()).enumerate() {
                let boxes = self.bars.iter().enumerate().filter_map(|(number, (_, heights))| {
                    let bottom: f64 = heights.iter().take(part).sum();
                    let left = (SegmentValue::Exact(number), bottom);
                    let right = (SegmentValue::Exact(number + 1), bottom + heights.get(part)?);
                    let mut bar = Rectangle::new([left, right], colour.filled());
                    bar.set_margin(0, 0, 8, 8);
                    Some(bar)
                });
                let legend = move |(x, y): (i32, i32)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled());
                chart.draw_series(boxes).map_err(drawing)?.label(&self.parts[part]).legend(legend);
            }
            let labels = &mut chart.configure_series_labels();
            labels.position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.8));
            labels.border_style(BLACK.mix(0.3)).draw().map_err(drawing)?;
            area.present().map_err(drawing)?;
        }
        Ok(Some(svg))
    }
}

#[cfg(test)]
mod tests {
    use super::Bars;

    #[test]
    fn bars_are_stacked_and_named() {
        let bars = Bars {
            title: "seconds".to_owned(),
            parts: vec!["first".to_owned(), "second".to_owned()],
            bars: vec![("classic, 0 %".to_owned(), vec![1.0, 2.0]), ("handoff".to_owned(), vec![0.5, 0.25])],
        };
        let svg = bars.svg().unwrap().unwrap();
        for text in ["seconds", "first", "second", "classic, 0 %", "handoff"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(bars.csv().lines().count(), 1 + 4);
        assert!(bars.csv().contains("\"classic, 0 %\",second,2\n"));
        assert!(Bars { bars: Vec::new(), ..bars }.svg().unwrap().is_none());
    }
}
