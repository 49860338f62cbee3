//! Figures that the stack shows: named where it is built, read when they are asked for.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};

/// The gauges of a process.
#[derive(Default)]
pub(crate) struct Gauges(Mutex<Vec<Gauge>>);

struct Gauge {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

// === impl Gauges ===

impl Gauges {
    /// Shows one more figure, or takes the place of the one with this name.
    pub(crate) fn show(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let read = Box::new(read);
        let gauge = Gauge { name, help, read };
        let mut shown = self.lock();
        match shown.iter_mut().find(|held| held.name == name) {
            Some(held) => *held = gauge,
            None => shown.push(gauge),
        }
    }

    /// Writes them in the text format of Prometheus.
    pub(crate) fn write(&self, text: &mut String) {
        for Gauge { name, help, read } in &*self.lock() {
            let value = read();
            writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
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
