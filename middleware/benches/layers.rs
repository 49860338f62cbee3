//! Each layer alone, and the whole stack by what is sent, under criterion.
//!
//! The request is made outside of what is timed; the bare service is not subtracted
//! here, it has a line of its own.

mod rig;

use std::fmt::Debug;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use http::Response;
use tower::{Service, ServiceBuilder};
use vestibule::api_key::AuthenticateLayer;
use vestibule::clock::SystemClock;
use vestibule::correlation_id::CorrelateLayer;
use vestibule::idempotency::IdempotencyLayer;
use vestibule::rate_limit::{Quota, RateLimitLayer};
use vestibule::{Principal, memory};

use self::rig::{Case, Noop, Rig, Sent, ours, theirs};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots();
    targets = layers, stacks
}
criterion_main!(benches);

fn layers(criterion: &mut Criterion) {
    let rig = Rig::new();
    let mut group = criterion.benchmark_group("layer");
    group.throughput(Throughput::Elements(1));
    measure(&mut group, &rig, "none", Noop, Case::Minted);

    let layer = ServiceBuilder::new().layer(CorrelateLayer::new());
    measure(
        &mut group,
        &rig,
        "correlation_id, minted",
        layer.service(Noop),
        Case::Minted,
    );
    measure(
        &mut group,
        &rig,
        "correlation_id, taken over",
        layer.service(Noop),
        Case::TakenOver,
    );

    let layer = ServiceBuilder::new().layer(AuthenticateLayer::new(rig.keys()));
    measure(
        &mut group,
        &rig,
        "api_key",
        layer.service(Noop),
        Case::Minted,
    );
    measure(
        &mut group,
        &rig,
        "api_key, 401",
        layer.service(Noop),
        Case::Unauthenticated,
    );

    // These two take the caller from the request's extensions.
    let principal = Principal::builder("account", "key").build();
    let known = ServiceBuilder::new().map_request(move |mut request: Sent| {
        request.extensions_mut().insert(principal.clone());
        request
    });
    let quota = Quota::per_minute(u32::MAX);
    let layer = known.clone().layer(RateLimitLayer::new(store(), quota));
    measure(
        &mut group,
        &rig,
        "rate_limit",
        layer.service(Noop),
        Case::Minted,
    );
    for (name, case) in [
        ("idempotency, unkeyed", Case::Unkeyed),
        ("idempotency, executed", Case::Executed),
        ("idempotency, replayed", Case::Replayed),
    ] {
        let layer = known.clone().layer(IdempotencyLayer::new(store()));
        measure(&mut group, &rig, name, layer.service(Noop), case);
    }
}

fn stacks(criterion: &mut Criterion) {
    let rig = Rig::new();
    let mut group = criterion.benchmark_group("stack");
    group.throughput(Throughput::Elements(1));
    for case in Case::ALL {
        measure(&mut group, &rig, case.name(), ours(&rig), case);
    }
    measure(
        &mut group,
        &rig,
        "hand-made, id minted",
        theirs(),
        Case::Minted,
    );
}

fn measure<S, R>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    rig: &Rig,
    name: &str,
    mut service: S,
    case: Case,
) where
    S: Service<Sent, Response = Response<R>, Error: Debug>,
{
    rig.warm(&mut service, case);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let mut taken = Duration::ZERO;
            let mut left = usize::try_from(count).expect("criterion asks for no more than fits");
            while left > 0 {
                let requests = rig.requests(case, left.min(AT_ONCE));
                left -= requests.len();
                taken += rig.drive(&mut service, requests);
            }
            taken
        });
    });
}

fn store() -> memory::Store {
    memory::Store::new(SystemClock::shared())
        .records(usize::MAX)
        .record_bytes(usize::MAX)
}

/// As many requests as are held in memory at one time.
const AT_ONCE: usize = 1_000;
