//! The platforms against a small broker, right and wrong.

mod broker;
mod flaws;
mod http;
mod right;
mod wire;
