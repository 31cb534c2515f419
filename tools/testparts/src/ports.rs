//! Ports for servers that cannot be told to choose one themselves and say which.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// How often a part is started anew when somebody else was quicker to take its port.
const ATTEMPTS: u32 = 5;

/// A port of the loopback interface that nobody listens on now.
///
/// Somebody else may take it before the part does: see [`retry`].
pub(crate) fn free() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Calls `start` again for as long as its error says that a port was taken, with a bound.
pub(crate) fn retry<T>(mut start: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..ATTEMPTS {
        match start() {
            Err(Error::Start { detail, .. }) if detail.to_lowercase().contains("address already in use") => {}
            settled => return settled,
        }
    }
    start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_tried_again_and_nothing_else_is() {
        let mut calls = 0;
        let taken = retry(|| {
            calls += 1;
            if calls < 3 {
                Err(Error::start("p", "bind: Address already in use"))
            } else {
                Ok(calls)
            }
        });
        assert_eq!(taken.unwrap(), 3);

        let mut calls = 0;
        let broken: Result<(), _> = retry(|| {
            calls += 1;
            Err(Error::start("p", "bad flag"))
        });
        assert!(broken.is_err());
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_port_that_stays_taken_is_an_error() {
        let mut calls = 0;
        let result: Result<(), _> = retry(|| {
            calls += 1;
            Err(Error::start("p", "address already in use"))
        });
        assert!(result.is_err());
        assert_eq!(calls, ATTEMPTS);
    }
}
