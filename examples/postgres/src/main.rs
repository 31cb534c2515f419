//! The program: see the README.
fn main() {}
