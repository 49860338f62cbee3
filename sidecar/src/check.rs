//! `vestibule check`: all that is wrong with configurations, without starting anything.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use vestibule_sidecar::config::{Config, Louder};

/// Judges the files, as so many sidecars would read them.
pub(crate) fn run(
    files: &[PathBuf],
    replicas: Option<u32>,
    mut louder: Louder,
) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(replicas) = replicas {
        louder.set(&format!("replicas={replicas}"))?;
    }
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match Config::read_under(file, &louder) {
            Ok(config) => {
                for warning in config.warnings() {
                    writeln!(
                        io::stderr(),
                        "{}: warning: {}",
                        warning.place(),
                        warning.text()
                    )?;
                }
                writeln!(io::stdout(), "{} is good", file.display())?;
            }
            Err(error) => {
                writeln!(io::stderr(), "{error}")?;
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
