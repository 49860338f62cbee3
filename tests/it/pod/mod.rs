//! `examples/kubernetes`: what it renders, held against its rules, and its dev overlay as a pod
//! that runs, is hurt and ends.

mod configuration;
mod containerfile;
mod manifests;
mod played;
mod rendered;
