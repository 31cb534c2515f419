//! Where an instance lives, and what its objects are called.

use osb_sdk::{BindingId, Context, ContextView, InstanceId};
use ring::digest::{SHA256, digest};

/// The longest name of an instance that stays as it is: it is the value of a label, too.
const MAX_LABEL: usize = 63;

/// What begins so has been made of an id that is no name.
const PREFIX: &str = "osb-";

/// Why an instance has no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// The context does not say which namespace.
    #[error("context.namespace is missing, or is no name of a namespace")]
    NoNamespace,
    /// A platform without namespaces, and no default for it.
    #[error("this broker makes instances for the platform kubernetes only, in context.namespace")]
    OtherPlatform,
    /// Somebody names another namespace than the one where the instance is.
    #[error("the instance lives in another namespace than context.namespace says, and cannot be moved")]
    Moved,
}

/// In which namespaces instances live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// In `context.namespace`; those of platforms that have no namespaces in this one, and without it such platforms are
    /// refused.
    OfContext(Option<String>),
    /// All in one, whatever the context says.
    One(String),
}

/// The namespace for an instance.
///
/// # Errors
/// [`NoPlace`].
pub fn namespace(context: Option<&Context>, places: &Places) -> Result<String, NoPlace> {
    let default = match places {
        Places::OfContext(default) => default,
        Places::One(namespace) => return Ok(namespace.clone()),
    };
    if let Some(ContextView::Kubernetes(kubernetes)) = context.map(Context::view) {
        let namespace = kubernetes.namespace().filter(|name| is_label(name));
        return namespace.map(str::to_owned).ok_or(NoPlace::NoNamespace);
    }
    default.clone().ok_or(NoPlace::OtherPlatform)
}

/// The name of the TemplateInstance and of its Secret: the instance's id, or a hash of it where that is no name.
///
/// ```
/// use osb_sdk::InstanceId;
/// use template_broker::place::name;
///
/// let id = InstanceId::new("5d9a1c1e-70a5-4f0e-9a3b-1b6a2f9a7c11").unwrap();
/// assert_eq!(name(&id), "5d9a1c1e-70a5-4f0e-9a3b-1b6a2f9a7c11");
/// assert!(name(&InstanceId::new("My Database").unwrap()).starts_with("osb-"));
/// ```
pub fn name(instance: &InstanceId) -> String {
    let id = instance.as_str();
    if is_label(id) && !id.starts_with(PREFIX) {
        return id.to_owned();
    }
    hashed("", id)
}

/// What is made for a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What it is.
    Binding,
    /// What takes it back.
    Unbinding,
}

/// The name of the TemplateInstance of a binding and of its Secret. No instance has such a name.
pub(crate) fn of_binding(instance: &InstanceId, binding: &BindingId, part: Part) -> String {
    let part = match part {
        Part::Binding => "binding",
        Part::Unbinding => "unbinding",
    };
    let (instance, binding) = (instance.as_str(), binding.as_str());
    hashed(&format!("{part}-"), &format!("{}/{instance}/{binding}", instance.len()))
}

fn hashed(after: &str, text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let mut name = format!("{PREFIX}{after}");
    for byte in &hash.as_ref()[..20] {
        name.push_str(&format!("{byte:02x}"));
    }
    name
}

fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().last()];
    text.len() <= MAX_LABEL
        && ends.into_iter().all(|byte| byte.is_some_and(plain))
        && text.bytes().all(|byte| plain(byte) || byte == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(context: Value, default: Option<&str>) -> Result<String, NoPlace> {
        let places = Places::OfContext(default.map(str::to_owned));
        namespace(Some(&serde_json::from_value(context).unwrap()), &places)
    }

    #[test]
    fn kubernetes_says_where_and_others_have_the_default() {
        let kubernetes = json!({"platform": "kubernetes", "namespace": "shop", "clusterid": "c"});
        assert_eq!(of(kubernetes.clone(), None).as_deref(), Ok("shop"));
        assert_eq!(of(kubernetes, Some("office")).as_deref(), Ok("shop"));
        let foundry = json!({"platform": "cloudfoundry", "space_guid": "s"});
        assert_eq!(of(foundry.clone(), Some("office")).as_deref(), Ok("office"));
        assert_eq!(of(foundry, None), Err(NoPlace::OtherPlatform));
        assert_eq!(namespace(None, &Places::OfContext(None)), Err(NoPlace::OtherPlatform));
        assert_eq!(namespace(None, &Places::One("x".to_owned())).as_deref(), Ok("x"));
        for wrong in [json!("../x"), json!(""), json!(7), Value::Null] {
            let context = json!({"platform": "kubernetes", "namespace": wrong});
            assert_eq!(of(context, Some("office")), Err(NoPlace::NoNamespace));
        }
    }

    #[test]
    fn bindings_of_instances_do_not_run_into_each_other() {
        let name_of = |instance: &str, binding: &str, part| {
            of_binding(
                &InstanceId::new(instance).unwrap(),
                &BindingId::new(binding).unwrap(),
                part,
            )
        };
        let first = name_of("a", "b/c", Part::Binding);
        assert_ne!(first, name_of("a/b", "c", Part::Binding));
        assert_ne!(first, name_of("a", "b/c", Part::Unbinding));
        assert!(
            is_label(&first) && is_label(&name_of("a", "b", Part::Unbinding)),
            "{first}"
        );
    }

    #[test]
    fn nobody_chooses_the_name_that_a_hash_would_give() {
        let name_of = |id: &str| name(&InstanceId::new(id).unwrap());
        let hashed = name_of("A");
        assert_ne!(name_of(&hashed), hashed);
        assert!(is_label(&hashed) && is_label(&name_of(&"x".repeat(100))));
    }
}
