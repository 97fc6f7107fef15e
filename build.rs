//! Builds again when a migration is added or changed: they are embedded into the program.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
