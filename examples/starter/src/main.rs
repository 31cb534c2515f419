//! The program: flags, listeners, state and shutdown are the SDK's. `--help` tells what there is.

fn main() -> std::process::ExitCode {
    osb_sdk::run(starter::broker())
}
