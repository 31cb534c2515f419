//! The plays that fit into a test, with the programs themselves.

mod plays;
