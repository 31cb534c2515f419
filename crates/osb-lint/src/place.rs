//! JSON pointers (RFC 6901).

use std::fmt;

/// A place in a catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(String);

impl Place {
    /// The catalog itself.
    pub(crate) fn root() -> Self {
        Self::default()
    }

    /// Of a pointer.
    pub(crate) fn at(pointer: &str) -> Self {
        Self(pointer.to_owned())
    }

    pub(crate) fn member(&self, name: &str) -> Self {
        Self(format!("{}/{}", self.0, name.replace('~', "~0").replace('/', "~1")))
    }

    pub(crate) fn element(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }

    /// Of a path as `osb_api` writes it: `services[0].plans[1].id`. A name there holds no `.`; one that ends in
    /// brackets is read as an element.
    pub(crate) fn of_path(path: &str) -> Self {
        let names = path.split('.').filter(|name| !name.is_empty());
        names.fold(Self::root(), |place, name| {
            let mut parts = name.split('[');
            let place = place.member(parts.next().unwrap_or_default());
            parts.fold(place, |place, index| place.member(index.trim_end_matches(']')))
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_pointer() {
        assert_eq!(Place::of_path("").as_str(), "");
        assert_eq!(
            Place::of_path("services[0].plans[12].schemas.service_binding").as_str(),
            "/services/0/plans/12/schemas/service_binding"
        );
        assert_eq!(Place::of_path("a/b").as_str(), "/a~1b");
    }

    #[test]
    fn names_are_escaped() {
        let place = Place::root().member("a/b~c").element(3);
        assert_eq!(place.as_str(), "/a~1b~0c/3");
        let value = serde_json::json!({ "a/b~c": [0, 1, 2, 7] });
        assert_eq!(value.pointer(place.as_str()), Some(&serde_json::json!(7)));
    }
}
