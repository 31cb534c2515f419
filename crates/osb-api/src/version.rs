//! `X-Broker-API-Version`.

/// A version of the API; compared as two integers (OSB-VER-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Only 2 is served.
    pub major: u32,
    /// Any from 11 on is served.
    pub minor: u32,
}
