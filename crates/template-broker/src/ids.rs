//! Ids that stay the same when a template is made anew.

use ring::digest::{SHA256, digest};
use uuid::Builder;

/// The id of the service of a template: derived from namespace and name, so that a template that is deleted and made
/// anew is the same service.
///
/// ```
/// use template_broker::ids::{plan, service};
///
/// assert_eq!(service("shop", "db"), service("shop", "db"));
/// assert_ne!(service("shop", "db"), service("office", "db"));
/// assert_ne!(service("shop", "db"), plan("shop", "db", "default"));
/// ```
pub fn service(namespace: &str, name: &str) -> String {
    derived(&["service", namespace, name])
}

/// The id of a plan of that service.
pub fn plan(namespace: &str, name: &str, plan: &str) -> String {
    derived(&["plan", namespace, name, plan])
}

/// A UUID of version 8. Each part ends with a zero byte, which no part contains.
fn derived(parts: &[&str]) -> String {
    let mut text = b"template-broker\0".to_vec();
    for part in parts {
        text.extend_from_slice(part.as_bytes());
        text.push(0);
    }
    let hash = digest(&SHA256, &text);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instances refer to them for ever.
    #[test]
    fn ids_do_not_change_with_versions_of_the_broker() {
        assert_eq!(service("openshift", "mysql"), "ea4c0eb0-a812-8e6b-9a43-e10c4ca0e250");
        assert_eq!(
            plan("openshift", "mysql", "default"),
            "9c56d629-1d8e-8892-9195-5ed0c76a0113"
        );
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(service("a", "bc"), service("ab", "c"));
        assert_ne!(plan("a", "b", "c"), plan("a", "bc", ""));
    }
}
