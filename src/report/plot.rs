//! Line charts as SVG and PNG, without any font of the system.

use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        FontStyle, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};
use std::{ops::Range, path::Path, sync::OnceLock};

/// Width and height in pixels at scale 1.
const SIZE: (u32, u32) = (960, 540);

/// Okabe and Ito's colours, which colour-blind people can tell apart; yellow is left out, it cannot be
/// seen on white.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(70, 70, 70),
];
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(228, 228, 228);

/// The font's name in the SVG, where the viewer's own sans-serif is used.
const FONT: &str = "sans-serif";

/// A line chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Says what is shown.
    pub title: String,
    /// A second line in smaller letters; may be empty.
    pub subtitle: String,
    /// What runs to the right, with its unit.
    pub x_label: String,
    /// What runs upwards, with its unit.
    pub y_label: String,
    /// Whether the vertical axis starts at 0.
    pub from_zero: bool,
    /// The lines.
    pub series: Vec<Series>,
    /// Places on the horizontal axis with a word each, drawn as upright lines.
    pub marks: Vec<(f64, String)>,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, in the order in which they are joined. What is not finite is left out, and the line has a gap there.
    pub points: Vec<(f64, f64)>,
    /// Whether the line is dashed.
    pub dashed: bool,
}

/// Why a chart cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The font that comes with the program cannot be used.
    #[error("the built-in font cannot be read")]
    Font,
    /// The drawing failed.
    #[error("drawing failed: {0}")]
    Draw(String),
    /// The file cannot be written.
    #[error("the picture cannot be written")]
    Write(#[from] std::io::Error),
}

impl Chart {
    /// The chart as an SVG document.
    ///
    /// # Errors
    ///
    /// When the drawing fails.
    pub fn svg(&self) -> Result<String, PlotError> {
        let mut text = String::new();
        self.draw(SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), 1.0)?;
        Ok(text)
    }

    /// Writes the chart as a PNG file of twice the size, for screens with many pixels.
    ///
    /// # Errors
    ///
    /// When the drawing or the writing fails.
    pub fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        let size = (SIZE.0 * 2, SIZE.1 * 2);
        self.draw(BitMapBackend::new(path, size).into_drawing_area(), 2.0)
    }
    fn draw<B: DrawingBackend>(&self, root: DrawingArea<B, Shift>, scale: f64) -> Result<(), PlotError> {
        use_built_in_font()?;
        let px = |length: f64| (length * scale).round() as i32;
        let font = |size: f64, colour: &RGBColor| (FONT, size * scale).into_font().color(colour);
        root.fill(&WHITE).map_err(failed)?;
        root.draw_text(&self.title, &font(24.0, &INK), (px(24.0), px(18.0))).map_err(failed)?;
        root.draw_text(&self.subtitle, &font(15.0, &FAINT), (px(24.0), px(50.0))).map_err(failed)?;

        let legend_width = if self.series.len() > 1 { 160.0 } else { 8.0 };
        let plot = root.margin(px(82.0), px(12.0), px(12.0), px(24.0 + legend_width));
        let (x_range, y_range) = self.ranges();
        let (x_shown, y_shown) = (x_range.clone(), y_range.clone());
        let decimals = decimals(&y_range);
        let x_labels = ((x_range.end - x_range.start) as usize + 1).clamp(2, 11);
        let mut chart = ChartBuilder::on(&plot)
            .x_label_area_size(px(50.0))
            .y_label_area_size(px(72.0))
            .build_cartesian_2d(x_range, y_range)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID.stroke_width(px(1.0) as u32))
            .axis_style(FAINT.stroke_width(px(1.0) as u32))
            .x_labels(x_labels)
            .y_labels(8)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.decimals$}"))
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .label_style(font(14.0, &INK))
            .axis_desc_style(font(16.0, &INK))
            .draw()
            .map_err(failed)?;

        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let points: Vec<(f64, f64)> = series.finite().collect();
            let line = colour.stroke_width(px(2.0) as u32);
            for run in series.runs() {
                if series.dashed {
                    chart.draw_series(DashedLineSeries::new(run, px(7.0), px(5.0), line)).map_err(failed)?;
                } else {
                    chart.draw_series(LineSeries::new(run, line)).map_err(failed)?;
                }
            }
            if points.len() <= MOST_MARKERS {
                let marks = points.into_iter().map(|point| Circle::new(point, px(3.0), colour.filled()));
                chart.draw_series(marks).map_err(failed)?;
            }
        }
        for (at, word) in self.marks.iter().filter(|(at, _)| (x_shown.start..=x_shown.end).contains(at)) {
            let upright = vec![(*at, y_shown.start), (*at, y_shown.end)];
            let line = FAINT.stroke_width(px(1.0) as u32);
            chart.draw_series(DashedLineSeries::new(upright, px(3.0), px(3.0), line)).map_err(failed)?;
            let style = font(13.0, &FAINT).pos(Pos::new(HPos::Left, VPos::Top));
            let word = Text::new(format!(" {word}"), (*at, y_shown.end), style);
            chart.draw_series([word]).map_err(failed)?;
        }
        if self.series.len() > 1 {
            let left = SIZE.0 as f64 - legend_width - 8.0;
            self.legend(&root, (px(left), px(96.0)), scale)?;
        }
        root.present().map_err(failed)
    }

    fn legend<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        (left, top): (i32, i32),
        scale: f64,
    ) -> Result<(), PlotError> {
        let px = |length: f64| (length * scale).round() as i32;
        let middle = Pos::new(HPos::Left, VPos::Center);
        let style = (FONT, 14.0 * scale).into_font().color(&INK).pos(middle);
        let line_height = (400.0 / self.series.len() as f64).min(24.0);
        for (index, (series, colour)) in self.series.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let y = top + px(line_height * index as f64);
            let line = colour.stroke_width(px(2.0) as u32);
            // A dashed sample is two strokes with a gap.
            let strokes = if series.dashed { vec![(0.0, 10.0), (15.0, 25.0)] } else { vec![(0.0, 25.0)] };
            for (from, to) in strokes {
                let stroke = vec![(left + px(from), y), (left + px(to), y)];
                root.draw(&PathElement::new(stroke, line)).map_err(failed)?;
            }
            root.draw_text(&series.name, &style, (left + px(33.0), y)).map_err(failed)?;
        }
        Ok(())
    }

    /// The ranges of both axes: all finite points with a little room, never empty.
    fn ranges(&self) -> (Range<f64>, Range<f64>) {
        let points = || self.series.iter().flat_map(Series::finite);
        let mut x = bounds(points().map(|(x, _)| x));
        let mut y = bounds(points().map(|(_, y)| y));
        if self.from_zero {
            y.start = y.start.min(0.0);
        }
        if x.end <= x.start {
            x.end = x.start + 1.0;
        }
        let room = (y.end - y.start) * 0.06;
        let room = if room > 0.0 { room } else { y.end.abs().max(1.0) * 0.06 };
        let below = if self.from_zero && y.start == 0.0 { 0.0 } else { room };
        (x, y.start - below..y.end + room)
    }
}

/// Lines with more points than this have no markers.
const MOST_MARKERS: usize = 60;

impl Series {
    /// The pieces between gaps.
    fn runs(&self) -> Vec<Vec<(f64, f64)>> {
        let is_gap = |(x, y): &(f64, f64)| !fits(*x) || !fits(*y);
        self.points.split(is_gap).filter(|run| !run.is_empty()).map(<[_]>::to_vec).collect()
    }

    fn finite(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.points.iter().copied().filter(|(x, y)| fits(*x) && fits(*y))
    }
}

/// Whether a value can be drawn: beyond f32's range the arithmetic of the axes would overflow.
fn fits(value: f64) -> bool {
    value.abs() < 1e30
}

/// Smallest and largest value; 0 to 0 for none.
fn bounds(values: impl Iterator<Item = f64>) -> Range<f64> {
    values.map(|value| value..value).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0.0..0.0)
}

/// Decimals that tell the labels of an axis apart.
fn decimals(range: &Range<f64>) -> usize {
    let digits = -((range.end - range.start) / 8.0).log10().floor();
    if digits.is_finite() { digits.clamp(0.0, 9.0) as usize } else { 0 }
}

/// Registers the font once for the process.
fn use_built_in_font() -> Result<(), PlotError> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let done = DONE
        .get_or_init(|| register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok());
    if *done { Ok(()) } else { Err(PlotError::Font) }
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> PlotError {
    PlotError::Draw(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "Title <&>".into(),
            subtitle: "subtitle".into(),
            x_label: "window".into(),
            y_label: "loss (nats per token)".into(),
            from_zero: false,
            series: vec![
                Series { name: "one".into(), points: points.clone(), dashed: false },
                Series { name: "two".into(), points, dashed: true },
            ],
            marks: vec![(1.0, "here".into()), (9.0, "beyond".into())],
        }
    }

    #[test]
    fn an_svg_has_its_words_and_lines() {
        let svg = chart(vec![(0.0, 5.0), (1.0, 4.0), (2.0, f64::NAN)]).svg().unwrap();
        for words in ["Title &lt;&amp;&gt;", "window", "loss (nats per token)", "one", "two", "subtitle"] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(!svg.contains("NaN") && svg.contains("here") && !svg.contains("beyond"));
        assert_eq!(svg.matches("<circle").count(), 4);
    }

    #[test]
    fn a_line_has_a_gap_where_a_point_is_not_finite() {
        let nan = f64::NAN;
        let points = vec![(0.0, 1.0), (1.0, 1.0), (1.0, nan), (nan, 1.0), (3.0, 2.0)];
        let runs = Series { name: String::new(), points, dashed: false }.runs();
        assert_eq!(runs, [vec![(0.0, 1.0), (1.0, 1.0)], vec![(3.0, 2.0)]]);
    }

    #[test]
    fn whatever_is_drawn_does_not_fail() {
        for points in [
            vec![],
            vec![(0.0, 0.0)],
            vec![(3.0, 7.0); 5],
            vec![(f64::NAN, f64::INFINITY)],
            vec![(0.0, 1e29), (1.0, -1e29)],
            vec![(0.0, f64::MAX), (1.0, f64::MIN)],
            (0..500).map(|i| (f64::from(i), 1e-12 * f64::from(i))).collect(),
        ] {
            chart(points.clone()).svg().unwrap();
            Chart { series: vec![], ..chart(points) }.svg().unwrap();
        }
    }
}
