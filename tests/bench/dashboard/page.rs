//! The panels as pictures: lines in SVG on a page of HTML, photographed by Chromium.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Panel, Prometheus, Series};

/// Draws what was answered in the time before this moment, and gives the pictures: one for
/// each heading of the dashboard.
pub(crate) async fn draw(
    prometheus: &Prometheus,
    panels: &[Panel],
    time: Duration,
) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dashboard");
    fs::create_dir_all(&folder).expect("the folder of the build is ours");
    let folder = folder.canonicalize().expect("it is there");
    let mut pictures = Vec::new();
    for (number, row) in panels.chunk_by(|a, b| a.row == b.row).enumerate() {
        let title = &row[0].row;
        let mut body = format!("<h1>{}</h1><main>", escaped(title));
        for panel in row {
            let mut lines = Vec::new();
            for query in &panel.queries {
                let found = prometheus.ask_over(&query.text, time, STEP).await;
                let named = found.into_iter().map(|one| (query.name(&one.labels), one));
                lines.extend(named);
            }
            body += &drawn(panel, &lines, time);
        }
        let words = title.to_lowercase();
        let words = words.split(|letter: char| !letter.is_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let page = folder.join(format!("{}-{}.html", number + 1, words.join("-")));
        let text =
            format!("<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}</main>");
        fs::write(&page, text).expect("the folder is ours");
        pictures.push(photographed(&page, height(row)));
    }
    pictures
}

fn photographed(page: &Path, height: u64) -> PathBuf {
    let picture = page.with_extension("png");
    // One of an earlier run would be taken for this one's.
    let _ = fs::remove_file(&picture);
    let profile = tempfile::TempDir::new().expect("the system has a temporary folder");
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let status = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--hide-scrollbars", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={PAGE},{height}"))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", page.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let is_there = status.is_ok_and(|status| status.success()) && picture.exists();
    assert!(is_there, "Chromium makes no picture of {}", page.display());
    picture
}

fn drawn(panel: &Panel, lines: &[(String, Series)], time: Duration) -> String {
    let title = escaped(&panel.title);
    let width = panel.width;
    let body = if panel.is_number {
        let last = lines.first().and_then(|(_, series)| series.points.last());
        let last = last.map(|(_, value)| told(*value, &panel.unit));
        let last = last.unwrap_or_else(|| "no data".to_owned());
        format!("<b>{last}</b>")
    } else {
        chart(panel, lines, time) + &legend(panel, lines)
    };
    format!("<section style='grid-column:span {width}'><h2>{title}</h2>{body}</section>")
}

fn chart(panel: &Panel, lines: &[(String, Series)], time: Duration) -> String {
    let wide = (PAGE / COLUMNS * panel.width) as f64 - 30.0;
    let points = || lines.iter().flat_map(|(_, series)| &series.points);
    let most = points()
        .map(|(_, value)| *value)
        .filter(|value| value.is_finite());
    let top = round(most.fold(0.0, f64::max));
    let end = points().map(|(at, _)| *at).fold(0.0, f64::max);
    let x = |at: f64| LEFT + (wide - LEFT) * (1.0 - (end - at) / time.as_secs_f64());
    let y = |value: f64| TALL - BELOW - (TALL - BELOW - ABOVE) * value / top;
    let mut svg = format!("<svg width='{wide}' height='{TALL}'>");
    for part in 0..=GRID {
        let value = top * f64::from(part) / f64::from(GRID);
        let (at, name) = (y(value), told(value, &panel.unit));
        let _ = write!(
            svg,
            "<path d='M{LEFT} {at}H{wide}' class=grid /><text x='{}' y='{}' class=value>{name}</text>",
            LEFT - 6.0,
            at + 4.0
        );
        let ago = time.as_secs_f64() * (1.0 - f64::from(part) / f64::from(GRID));
        let at = x(end - ago);
        let _ = write!(
            svg,
            "<text x='{at}' y='{}' class=time>{ago:.0} s ago</text>",
            TALL - 4.0
        );
    }
    for (number, (_, series)) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        // What is no number, such as a share of nothing, is a gap.
        for part in series.points.split(|(_, value)| !value.is_finite()) {
            let line = part
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)));
            let line = line.collect::<Vec<_>>().join(" ");
            let _ = write!(svg, "<polyline points='{line}' stroke='{colour}'/>");
        }
    }
    svg + "</svg>"
}

fn legend(panel: &Panel, lines: &[(String, Series)]) -> String {
    let mut text = "<p>".to_owned();
    for (number, (name, series)) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let last = series.points.last().map_or(f64::NAN, |(_, value)| *value);
        let (name, last) = (escaped(name), told(last, &panel.unit));
        let _ = write!(
            text,
            "<span><i style='background:{colour}'></i>{name} {last}</span>"
        );
    }
    if lines.is_empty() {
        text += "no data";
    }
    text + "</p>"
}

/// A value in the unit of a panel.
fn told(value: f64, unit: &str) -> String {
    let (value, unit) = match unit {
        "s" if value < 1.0 && value > 0.0 => (value * 1e3, " ms"),
        "s" => (value, " s"),
        "percentunit" => (value * 100.0, " %"),
        "reqps" | "ops" => (value, "/s"),
        "Bps" => (value, " B/s"),
        _ => (value, ""),
    };
    let places = match value.abs() {
        0.0 => 0,
        size if size < 1.0 => 2,
        size if size < 100.0 && value.fract() != 0.0 => 1,
        _ => 0,
    };
    format!("{value:.places$}{unit}")
}

/// The next number that is easily divided.
fn round(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= most);
    step.unwrap_or(10.0) * power
}

/// The panels of a heading stand in lines, each as high as its highest.
fn height(row: &[Panel]) -> u64 {
    let lines = row.chunk_by(|a, b| a.top == b.top);
    let heights = lines.map(|line| if line[0].is_number { 110 } else { 340 });
    80 + heights.sum::<u64>()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const STEP: Duration = Duration::from_secs(1);

/// Pixels.
const PAGE: u64 = 1680;
const TALL: f64 = 230.0;
const LEFT: f64 = 64.0;
const ABOVE: f64 = 10.0;
const BELOW: f64 = 22.0;

const COLUMNS: u64 = 24;
const GRID: u32 = 4;

const COLOURS: [&str; 10] = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f",
    "#bcbd22", "#17becf",
];

const STYLE: &str = "
body { margin: 16px; font: 12px sans-serif; color: #222; background: #f4f5f5; }
h1 { font-size: 20px; margin: 0 0 10px; }
h2 { font-size: 13px; margin: 0 0 4px; }
main { display: grid; grid-template-columns: repeat(24, 1fr); gap: 8px; }
section { background: #fff; border: 1px solid #ddd; padding: 6px; overflow: hidden; }
b { font-size: 28px; font-weight: normal; }
p { margin: 4px 0 0; display: flex; flex-wrap: wrap; gap: 2px 12px; height: 62px; overflow: hidden; align-content: start; }
i { display: inline-block; width: 10px; height: 10px; margin-right: 4px; }
.grid { stroke: #e4e4e4; }
.value { text-anchor: end; fill: #666; }
.time { text-anchor: end; fill: #666; }
polyline { fill: none; stroke-width: 1.5; }
";
