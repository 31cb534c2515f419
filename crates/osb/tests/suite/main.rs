//! The program as a person uses it: real processes, real sockets, a real folder.

mod bad_input;
mod cut_off;
mod harness;
mod kubectl;
mod life;
mod refusals;
mod secrets;
mod verbs;
