//! Figures that the stack shows: named where it is built, read when they are asked for.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};

/// The gauges of a process.
#[derive(Default)]
pub(crate) struct Gauges(Mutex<Vec<Gauge>>);

struct Gauge {
    kind: &'static str,
    name: &'static str,
    help: &'static str,
    read: Read,
}

type Read = Box<dyn Fn() -> f64 + Send + Sync>;

// === impl Gauges ===

impl Gauges {
    /// Shows one more figure, or takes the place of the one with this name.
    pub(crate) fn show(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.add("gauge", name, help, Box::new(read));
    }

    /// Shows a figure that only grows.
    pub(crate) fn count(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add("counter", name, help, Box::new(move || read() as f64));
    }

    /// What the figure with this name is now.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        let shown = self.lock();
        let shown = shown.iter().find(|gauge| gauge.name == name);
        shown.map(|gauge| (gauge.read)())
    }

    fn add(&self, kind: &'static str, name: &'static str, help: &'static str, read: Read) {
        let gauge = Gauge {
            kind,
            name,
            help,
            read,
        };
        let mut shown = self.lock();
        match shown.iter_mut().find(|held| held.name == name) {
            Some(held) => *held = gauge,
            None => shown.push(gauge),
        }
    }

    /// Writes them in the text format of Prometheus.
    pub(crate) fn write(&self, text: &mut String) {
        for Gauge {
            kind,
            name,
            help,
            read,
        } in &*self.lock()
        {
            let value = read();
            writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            )
            .expect("a string takes what is written");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Gauge>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.lock();
        let names = names.iter().map(|gauge| gauge.name);
        f.debug_list().entries(names).finish()
    }
}
