//! The dashboard that is shipped, as it stands in its file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

/// One panel of the dashboard.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The heading that it stands under.
    pub row: String,
    /// Its own.
    pub title: String,
    /// Whether it shows one number instead of lines.
    pub is_number: bool,
    /// What its values are, in Grafana's word.
    pub unit: String,
    /// Columns that it takes, of 24.
    pub width: u64,
    /// Where its upper edge is.
    pub top: u64,
    /// What it asks.
    pub queries: Vec<Query>,
}

/// A query of a panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// With the variables of the dashboard filled in.
    pub text: String,
    legend: String,
}

// === impl Panel ===

impl Panel {
    /// The panels of the dashboard that is shipped, for sidecars whose name matches, and rates
    /// over such an interval.
    ///
    /// # Panics
    ///
    /// Where it is not there, or is none.
    pub fn shipped(instance: &str, interval: &str) -> Vec<Self> {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../examples/kubernetes/grafana-dashboard.json");
        let dashboard = std::fs::read_to_string(file).expect("the dashboard is shipped");
        let dashboard: Value = serde_json::from_str(&dashboard).expect("it is JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut panels = Vec::new();
        let mut row = String::new();
        for panel in dashboard["panels"].as_array().expect("it has panels") {
            if panel["type"] == "row" {
                row = text(&panel["title"]);
                continue;
            }
            let queries = panel["targets"].as_array().into_iter().flatten();
            let queries = queries.map(|query| Query {
                text: text(&query["expr"])
                    .replace("$__rate_interval", interval)
                    .replace("$instance", instance),
                legend: text(&query["legendFormat"]),
            });
            let place = |name: &str| panel["gridPos"][name].as_u64().expect("it has a place");
            panels.push(Self {
                row: row.clone(),
                title: text(&panel["title"]),
                is_number: panel["type"] == "stat",
                unit: text(&panel["fieldConfig"]["defaults"]["unit"]),
                width: place("w"),
                top: place("y"),
                queries: queries.collect(),
            });
        }
        panels
    }
}

// === impl Query ===

impl Query {
    /// What a series is called that has these labels.
    pub fn name(&self, labels: &BTreeMap<String, String>) -> String {
        let name = self.legend.clone();
        let fill = |name: String, (label, value): (&String, &String)| {
            name.replace(&format!("{{{{{label}}}}}"), value)
        };
        labels.iter().fold(name, fill)
    }
}
