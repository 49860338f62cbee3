//! `examples/kubernetes`: what it renders, held against its rules, and its dev overlay as a pod
//! that runs, is hurt and ends.
//!
//! `./tests/pod` finds what these need, and shows what the second half does.

mod configuration;
mod containerfile;
mod image;
mod manifests;
mod memory;
mod names;
mod play;
mod podman;
mod rendered;
mod running;
