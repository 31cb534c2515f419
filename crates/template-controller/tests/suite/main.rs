//! The controller on the embedded API server, and on a real one where that is there.

mod corpus;
mod crashes;
mod faults;
mod installs;
mod instances;
mod places;
mod previews;
mod rights;
