//! A real Prometheus that scrapes what it is told to.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use vestibule::clock::SystemClock;

use crate::PATIENCE;
use crate::draft::Draft;
use crate::process::Process;
use crate::wire::Wire;

/// A Prometheus, until it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

/// One of the series that answer a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Unix seconds, and the value then, which may be no number.
    pub points: Vec<(f64, f64)>,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts one that looks so often at each of these: an address, and a path there.
    ///
    /// # Panics
    ///
    /// Where there is none, or it does not start.
    pub async fn start(every: Duration, targets: &[(SocketAddr, &str)]) -> Self {
        let folder = TempDir::new().expect("the system has a temporary folder");
        let every = every.as_millis();
        let mut text = format!("global: {{scrape_interval: {every}ms}}\nscrape_configs:\n");
        for (number, (address, path)) in targets.iter().enumerate() {
            text += &format!(
                "- {{job_name: '{number}', metrics_path: '{path}', static_configs: [{{targets: ['{address}']}}]}}\n"
            );
        }
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, text).expect("the folder is ours");
        let address = free();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start(&mut command);
        let ready = async {
            while !is_ready(address).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, ready).await;
        waited.expect("Prometheus is ready soon");
        Self {
            address,
            _process: process,
            _folder: folder,
        }
    }

    /// What answers a query at this moment, a point for each series.
    ///
    /// # Panics
    ///
    /// Where it is no query.
    pub async fn ask(&self, query: &str) -> Vec<Series> {
        let target = format!("/api/v1/query?query={}", escaped(query));
        series(&self.data(&target).await["result"])
    }

    /// What answered a query in the time before this moment, with a point for each step.
    ///
    /// # Panics
    ///
    /// As [`ask`](Self::ask).
    pub async fn ask_over(&self, query: &str, time: Duration, step: Duration) -> Vec<Series> {
        let end = SystemClock::shared().now().as_unix_millis() as f64 / 1e3;
        let (start, step) = (end - time.as_secs_f64(), step.as_secs_f64());
        let query = escaped(query);
        let target =
            format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}");
        series(&self.data(&target).await["result"])
    }

    /// The values of a label that a metric has.
    ///
    /// # Panics
    ///
    /// Where there is no such thing as that metric could be.
    pub async fn values(&self, label: &str, metric: &str) -> Vec<String> {
        let target = format!("/api/v1/label/{label}/values?match[]={metric}");
        let data = self.data(&target).await;
        let values = data.as_array().into_iter().flatten();
        values
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect()
    }

    async fn data(&self, target: &str) -> Value {
        let mut wire = Wire::connect(self.address).await;
        let mut answer = wire.exchange(&Draft::get(target)).await.json();
        assert_eq!(answer["status"], "success", "{target}: {answer}");
        answer["data"].take()
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    if tokio::net::TcpStream::connect(address).await.is_err() {
        return false;
    }
    let mut wire = Wire::connect(address).await;
    wire.exchange(&Draft::get("/-/ready")).await.status == 200
}

/// A vector has a point for each series, a matrix several, a scalar is one series.
fn series(result: &Value) -> Vec<Series> {
    let found = result.as_array().into_iter().flatten();
    let series = found.map(|found| {
        let labels = found["metric"].as_object().into_iter().flatten();
        let labels = labels.map(|(name, value)| (name.clone(), text(value)));
        let several = found["values"].as_array().into_iter().flatten();
        let points = several.chain(found.get("value"));
        let points = points.filter_map(|point| {
            let value = point[1].as_str()?.parse().ok()?;
            Some((point[0].as_f64()?, value))
        });
        Series {
            labels: labels.collect(),
            points: points.collect(),
        }
    });
    series.collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// A port that was free a moment ago: it does not tell which one it chose.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0");
    let listener = listener.expect("the loopback has a free port");
    listener.local_addr().expect("it listens")
}
