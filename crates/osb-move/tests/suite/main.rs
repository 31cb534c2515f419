//! Archives made of one home and restored into another.

mod objects;
mod refusals;
mod support;
