//! `cargo run -p resources`

fn main() -> std::process::ExitCode {
    osb_sdk::run(resources::broker())
}
