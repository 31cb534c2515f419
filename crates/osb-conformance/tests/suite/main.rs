//! The check against a broker that is right, and against the same broker with each fault.

mod broker;
mod claims;
mod faults;
