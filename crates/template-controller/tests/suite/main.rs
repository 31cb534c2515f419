//! The controller on the embedded API server, and on a real one where that is there.

mod installs;
mod places;
