//! Archives made of one home and restored into another.

mod fsck;
mod objects;
mod refusals;
mod support;
