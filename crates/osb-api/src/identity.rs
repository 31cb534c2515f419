//! `X-Broker-API-Originating-Identity`: the user of the platform on whose behalf a request is made.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json::Members;
use crate::{Object, base64};

/// The name of the header.
pub const IDENTITY_HEADER: &str = "x-broker-api-originating-identity";

/// The longest value that is decoded, in bytes.
pub const MAX_IDENTITY_BYTES: usize = 16 * 1024;

/// The decoded header (OSB-OID-02).
///
/// The accessors look at the members that the profile of the specification names (OSB-PROF-08) and answer `None` for
/// one that is missing or of another type: platforms may send what they like (OSB-OID-03).
///
/// ```
/// # mod osb_sdk { pub use osb_api::{identity::*}; }
/// use osb_sdk::OriginatingIdentity;
///
/// // In a test, what `TestBroker::set_user` takes.
/// let value = serde_json::json!({"username": "ann", "uid": "u1", "groups": ["admins"]});
/// let identity = OriginatingIdentity {
///     platform: "kubernetes".to_owned(),
///     value: value.as_object().cloned().unwrap_or_default(),
/// };
/// assert_eq!(identity.user(), Some("ann"));
/// assert!(identity.groups().any(|group| group == "admins"));
/// assert_eq!(OriginatingIdentity::decode(&identity.encode()), Ok(identity));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OriginatingIdentity {
    /// `cloudfoundry`, `kubernetes` or any other name.
    pub platform: String,
    /// The platform's own properties of the user.
    pub value: Object,
}

/// The header is malformed: 400 (OSB-OID-04, Amb-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header X-Broker-API-Originating-Identity has to be a platform name, a space, and a JSON object in Base64")]
pub struct IdentityError;

/// A user of a platform in the form that Kubernetes has for one, whatever the platform.
///
/// ```
/// # mod osb_sdk { pub use osb_api::{identity::*, Object}; }
/// use osb_sdk::{Object, OriginatingIdentity};
///
/// # let user_id = Object::from_iter([("user_id".to_owned(), "683ea748".into())]);
/// # let identity = OriginatingIdentity { platform: "cloudfoundry".to_owned(), value: user_id };
/// let user = identity.user_info();
/// assert_eq!((user.name.as_str(), user.uid.as_str()), ("683ea748", "683ea748"));
/// assert!(user.groups.is_empty(), "only Kubernetes tells them");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// What the user is called: `username`, `user_name`, else the id; empty when the platform says nothing of it.
    pub name: String,
    /// What stays the same when the name changes: `uid` (Kubernetes), `user_id` (Cloud Foundry), `iam_id` (IBM Cloud);
    /// empty when there is none.
    pub uid: String,
    /// `groups`; only Kubernetes has them.
    pub groups: Vec<String>,
    /// `extra`; only Kubernetes has it.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl OriginatingIdentity {
    /// The user, in one form for all platforms. Members of another type than expected are left out (OSB-OID-03).
    pub fn user_info(&self) -> UserInfo {
        let first = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| self.text(name))
                .unwrap_or_default()
                .to_owned()
        };
        let extra = self.value.get("extra").and_then(Value::as_object);
        let keys = extra.into_iter().flat_map(Object::keys);
        UserInfo {
            name: first(&["username", "user_name", "user_id", "iam_id", "uid"]),
            uid: first(&["uid", "user_id", "iam_id"]),
            groups: self.groups().map(str::to_owned).collect(),
            extra: keys
                .map(|key| (key.clone(), self.extra(key).map(str::to_owned).collect()))
                .collect(),
        }
    }

    /// Decodes the value of the header: a non-empty platform name, a space, Base64 of a JSON object. Padding may be
    /// missing.
    ///
    /// # Errors
    /// [`IdentityError`] for anything else, also for a value longer than [`MAX_IDENTITY_BYTES`].
    pub fn decode(header: &str) -> Result<Self, IdentityError> {
        if header.len() > MAX_IDENTITY_BYTES {
            return Err(IdentityError);
        }
        let (platform, encoded) = header.trim().split_once(' ').ok_or(IdentityError)?;
        let json = base64::decode(encoded.trim_start().as_bytes()).map_err(|_| IdentityError)?;
        let value = Members::read(&json).map_err(|_| IdentityError)?.into_object();
        Ok(Self {
            platform: platform.to_owned(),
            value,
        })
    }

    /// The value of the header, for clients.
    pub fn encode(&self) -> String {
        let json = serde_json::to_vec(&self.value).expect("a map of JSON values always serialises");
        format!("{} {}", self.platform, base64::encode(&json))
    }

    /// Cloud Foundry: `user_id`.
    pub fn user_id(&self) -> Option<&str> {
        self.text("user_id")
    }

    /// Kubernetes: `username`.
    pub fn username(&self) -> Option<&str> {
        self.text("username")
    }

    /// Kubernetes: `uid`.
    pub fn uid(&self) -> Option<&str> {
        self.text("uid")
    }

    /// Kubernetes: `groups`, members of another type left out.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.value
            .get("groups")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// Kubernetes: the values of `extra` under a key, members of another type left out.
    pub fn extra<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        let values = self
            .value
            .get("extra")
            .and_then(|extra| extra.get(key))
            .and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str)
    }

    /// What names the user best: `username`, else `user_id`, else `uid`. For log lines.
    pub fn user(&self) -> Option<&str> {
        self.username().or_else(|| self.user_id()).or_else(|| self.uid())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.value.get(name).and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn header(platform: &str, value: &Value) -> String {
        format!("{platform} {}", base64::encode(value.to_string().as_bytes()))
    }

    /// OSB-OID-02, OSB-PROF-08.
    #[test]
    fn the_users_of_both_profiles_are_read() {
        let cloud_foundry =
            OriginatingIdentity::decode(&header("cloudfoundry", &json!({ "user_id": "683ea748" }))).unwrap();
        assert_eq!(
            (cloud_foundry.platform.as_str(), cloud_foundry.user()),
            ("cloudfoundry", Some("683ea748"))
        );
        let value = json!({ "username": "duke", "uid": "c2dde242", "groups": ["admin", "dev"], "extra": { "mydata": ["data1", "data3"] } });
        let kubernetes = OriginatingIdentity::decode(&header("kubernetes", &value)).unwrap();
        assert_eq!(
            (kubernetes.username(), kubernetes.uid()),
            (Some("duke"), Some("c2dde242"))
        );
        assert_eq!(kubernetes.groups().collect::<Vec<_>>(), ["admin", "dev"]);
        assert_eq!(kubernetes.extra("mydata").collect::<Vec<_>>(), ["data1", "data3"]);
        assert_eq!(kubernetes.extra("other").count(), 0);
    }

    /// OSB-PROF-08, OSB-OID-03.
    #[test]
    fn users_of_all_platforms_have_one_form() {
        let of = |value: Value| OriginatingIdentity::decode(&header("x", &value)).unwrap().user_info();
        let value = json!({"username": "duke", "uid": "c2", "groups": ["a", 1], "extra": {"k": ["v", 2], "odd": 7}});
        let extra = [("k", vec!["v".to_owned()]), ("odd", Vec::new())];
        let kubernetes = UserInfo {
            name: "duke".into(),
            uid: "c2".into(),
            groups: vec!["a".into()],
            extra: extra
                .into_iter()
                .map(|(key, values)| (key.to_owned(), values))
                .collect(),
        };
        assert_eq!(of(value), kubernetes);
        for (value, name, uid) in [
            (json!({"user_id": "68"}), "68", "68"),
            (json!({"user_id": "68", "user_name": "duke"}), "duke", "68"),
            (json!({"iam_id": "IBMid-1"}), "IBMid-1", "IBMid-1"),
            (json!({"username": "duke"}), "duke", ""),
            (json!({"username": 7}), "", ""),
            (json!({}), "", ""),
        ] {
            let user = of(value);
            assert_eq!((user.name.as_str(), user.uid.as_str()), (name, uid));
        }
    }

    /// OSB-OID-03.
    #[test]
    fn other_platforms_and_odd_types_are_accepted() {
        let value = json!({ "username": 7, "groups": ["a", 1, null], "extra": [], "iam_id": "IBMid-1" });
        let identity = OriginatingIdentity::decode(&header("ibmcloud", &value)).unwrap();
        assert_eq!((identity.platform.as_str(), identity.user()), ("ibmcloud", None));
        assert_eq!(identity.groups().collect::<Vec<_>>(), ["a"]);
        assert_eq!(identity.extra("x").count(), 0);
    }

    #[test]
    fn missing_padding_is_tolerated() {
        let padded = header("cloudfoundry", &json!({ "user_id": "ab" }));
        assert!(padded.ends_with('='));
        assert!(OriginatingIdentity::decode(padded.trim_end_matches('=')).is_ok());
    }

    /// OSB-OID-04.
    #[test]
    fn a_malformed_header_is_an_error() {
        let array = header("cloudfoundry", &json!([1]));
        let long = header("cloudfoundry", &json!({ "user_id": "x".repeat(MAX_IDENTITY_BYTES) }));
        for text in [
            "",
            " ",
            "cloudfoundry",
            "cloudfoundry ",
            " e30=",
            "cloudfoundry !!",
            "cloudfoundry e30= e30=",
            "cloudfoundry eyJ4",
            &array,
            &long,
        ] {
            assert_eq!(OriginatingIdentity::decode(text), Err(IdentityError), "{text:.40}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(platform in "[a-z]{1,20}", user: String) {
            let identity = OriginatingIdentity { platform, value: Object::from_iter([("user_id".to_owned(), user.into())]) };
            prop_assert_eq!(OriginatingIdentity::decode(&identity.encode()).unwrap(), identity);
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = OriginatingIdentity::decode(&text);
        }
    }
}
