//! What our stack adds to a request, beside what the hand-made stack of today adds, and against the bar.
//!
//! The two and the bare service take turns, so that whatever else the machine does
//! falls on all of them; the table has the medians. Where the machine is too noisy for
//! a clock, count instructions: `middleware/benches/instructions`, which runs this
//! program as `overhead --drive ours 1000` under valgrind.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark reports to whoever runs it"
)]

mod rig;

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use http::Response;
use tower::Service;

use self::rig::{Case, Noop, Rig, Sent, ours, theirs};

/// Nanoseconds that a request takes, one number a round.
#[derive(Default)]
struct Rounds(Vec<f64>);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--drive") {
        Some(at) => drive(&arguments[at + 1..]),
        None => compare(),
    }
}

/// Sends so many requests of a case to a service, and does nothing else.
fn drive(arguments: &[String]) {
    let [service, count, rest @ ..] = arguments else {
        panic!("--drive wants: ours, theirs or bare; a number of requests; perhaps a case");
    };
    let count = count.parse().expect("the number of requests is a number");
    let named = |case: &Case| rest.first().is_none_or(|name| case.name() == name);
    let case = Case::ALL.into_iter().find(named);
    let case = case.expect("the case is one of the table");
    let rig = Rig::new();
    match service.as_str() {
        "ours" => repeat(&rig, &mut ours(&rig), case, count),
        "theirs" => repeat(&rig, &mut theirs(), case, count),
        _ => repeat(&rig, &mut Noop, case, count),
    }
}

fn repeat<S, R>(rig: &Rig, service: &mut S, case: Case, count: usize)
where
    S: Service<Sent, Response = Response<R>, Error: Debug>,
{
    rig.warm(service, case);
    rig.drive(service, rig.requests(case, count));
}

fn compare() {
    let rig = Rig::new();
    let allocations =
        fs::read_to_string(Path::new(env!("CARGO_TARGET_TMPDIR")).join("allocations.tsv"))
            .unwrap_or_default();
    println!(
        "{:<24}{:>12}{:>12}{:>8}   allocations, ours and theirs",
        "added to a request", "ours, ns", "theirs, ns", "ratio"
    );
    for case in Case::ALL {
        let (mut ours, mut theirs) = (ours(&rig), theirs());
        rig.warm(&mut ours, case);
        rig.warm(&mut theirs, case);
        let mut rounds: [Rounds; 3] = Default::default();
        for _ in 0..ROUNDS {
            rounds[0].take(&rig, &mut Noop, case);
            rounds[1].take(&rig, &mut ours, case);
            rounds[2].take(&rig, &mut theirs, case);
        }
        let [bare, ours, theirs] = rounds.map(Rounds::median);
        let (ours, theirs) = (ours - bare, theirs - bare);
        let counted = allocations
            .lines()
            .find_map(|line| line.strip_prefix(case.name())?.strip_prefix('\t'))
            .unwrap_or("not counted: run all benchmarks");
        println!(
            "{:<24}{ours:>12.0}{theirs:>12.0}{:>8.2}   {counted}",
            case.name(),
            ours / theirs
        );
    }
    println!("The bar is the first line: a ratio of 1.20 at most, and 14 allocations.");
}

// === impl Rounds ===

impl Rounds {
    fn take<S, R>(&mut self, rig: &Rig, service: &mut S, case: Case)
    where
        S: Service<Sent, Response = Response<R>, Error: Debug>,
    {
        let requests = rig.requests(case, REQUESTS);
        let taken = rig.drive(service, requests);
        self.0.push(taken.as_nanos() as f64 / REQUESTS as f64);
    }

    fn median(mut self) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0[self.0.len() / 2]
    }
}

/// Long enough that the clock's own cost does not show, and shorter than the time that a
/// busy machine leaves a thread alone, so that the median has no waiting in it.
const REQUESTS: usize = 100;

const ROUNDS: usize = 2_001;
