//! The broker on a real PostgreSQL server: its functions called by the engine, and its program as a process.

mod changes;
mod databases;
mod hanging;
mod interrupted;
mod killed;
mod orphans;
mod platform;
mod proxy;
mod tls;
