//! The dev overlay, played by podman: `./tests/pod` finds it, and shows what is done.

mod image;
mod memory;
mod names;
mod play;
mod podman;
mod running;
