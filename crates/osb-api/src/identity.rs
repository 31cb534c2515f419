//! `X-Broker-API-Originating-Identity`: the user of the platform on whose behalf a request is made.

use crate::Object;

/// The decoded header (OSB-OID-02).
#[derive(Clone, Debug, PartialEq)]
pub struct OriginatingIdentity {
    /// `cloudfoundry`, `kubernetes` or any other name.
    pub platform: String,
    /// The platform's own properties of the user.
    pub value: Object,
}
