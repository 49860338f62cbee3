//! Builds anew when a migration is added: the macro that embeds them cannot ask for it.

fn main() {
    println!("cargo:rerun-if-changed=src/store/migrations");
}
