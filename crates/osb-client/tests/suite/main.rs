//! The client over real sockets: against the project's own front, and against answers that no good broker gives.

mod answers;
mod broker;
mod calls;
mod raw;
mod tls;
