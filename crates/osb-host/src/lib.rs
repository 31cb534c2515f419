//! Makes a process of a broker: flags, home, TLS, drain.
