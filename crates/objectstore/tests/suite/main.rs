//! What the store promises, on every engine, and what only the durable one can be asked.

#[cfg(feature = "etcd")]
mod clusters;
mod crash;
mod damage;
mod disk;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
mod faults;
mod flips;
mod folder;
mod history;
mod large;
#[cfg(feature = "etcd")]
mod members;
mod model;
mod reopen;
mod support;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
mod tracer;
mod transactions;
mod watches;
