//! Sealed values, for the fuzz targets of this repository.

use crate::seal::{Keys, Place, SealError};

/// Where the values of these functions stand.
const PLACE: Place<'static> = Place {
    object: "object",
    incarnation: "incarnation",
    field: "field",
};

/// Seals a value.
///
/// # Errors
/// As its variants say.
pub fn seal(keys: &Keys, plain: &[u8]) -> Result<String, SealError> {
    keys.seal(PLACE, plain)
}

/// Opens what [`seal`] has sealed.
///
/// # Errors
/// As its variants say.
pub fn open(keys: &Keys, sealed: &str) -> Result<Vec<u8>, SealError> {
    keys.open(PLACE, sealed)
}

/// Opens a value in another place.
///
/// # Errors
/// As its variants say.
pub fn open_elsewhere(keys: &Keys, sealed: &str) -> Result<Vec<u8>, SealError> {
    let elsewhere = Place {
        field: "other",
        ..PLACE
    };
    keys.open(elsewhere, sealed)
}

/// A stored digest with another changing part.
pub fn redigest(keys: &Keys, stored: &str, changing: &[u8]) -> Option<String> {
    keys.redigest(stored, changing)
}
