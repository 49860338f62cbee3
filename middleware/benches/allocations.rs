//! Allocations per request, by what is sent; `overhead` quotes them in the closing table.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark reports to whoever runs it"
)]

mod rig;

use std::alloc::System;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use http::Response;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::Service;

use self::rig::{Case, Noop, Rig, Sent, ours, theirs};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let rig = Rig::new();
    println!(
        "{:<24}{:>8}{:>8}",
        "allocations a request", "ours", "theirs"
    );
    let mut lines = String::new();
    for case in Case::ALL {
        let bare = counted(&rig, &mut Noop, case);
        let ours = counted(&rig, &mut ours(&rig), case) - bare;
        let theirs = counted(&rig, &mut theirs(), case) - bare;
        println!("{:<24}{ours:>8.1}{theirs:>8.1}", case.name());
        lines += &format!("{}\t{ours:.1}\t{theirs:.1}\n", case.name());
    }
    // A counting allocator slows down whoever allocates, so the time is measured by
    // another program, which finds these numbers here.
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("allocations.tsv");
    fs::write(file, lines).expect("cargo keeps a folder for the benchmarks");
}

fn counted<S, R>(rig: &Rig, service: &mut S, case: Case) -> f64
where
    S: Service<Sent, Response = Response<R>, Error: Debug>,
{
    rig.warm(service, case);
    let requests = rig.requests(case, REQUESTS);
    let region = Region::new(ALLOCATOR);
    rig.drive(service, requests);
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / REQUESTS as f64
}

/// A table that grows meanwhile costs less than a tenth of an allocation a request.
const REQUESTS: usize = 10_000;
