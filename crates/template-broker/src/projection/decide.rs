//! What a BrokerTemplateInstance should be, and what has to be done for it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::ObjectMeta;
use osb_sdk::{BindingId, Context, InstanceId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use template_controller::Served;
use template_controller::names::EXTERNAL_ID;
use template_controller::resources::{BrokerTemplateInstance, BrokerTemplateInstanceSpec};
use uuid::Uuid;

use crate::cluster::{At, MADE_FOR, life_of};

/// A ServiceInstance, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Sold {
    pub(super) spec: SoldSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SoldSpec {
    pub(super) instance_id: InstanceId,
    pub(super) incarnation: String,
    #[serde(default)]
    pub(super) context: Option<Context>,
}

/// A ServiceBinding, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Bound {
    spec: BoundSpec,
    #[serde(default)]
    record: BoundRecord,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BoundSpec {
    binding_id: BindingId,
    #[serde(default)]
    instance_incarnation: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BoundRecord {
    /// There once the bind has succeeded.
    outputs: Option<IgnoredAny>,
    operation: Option<Running>,
}

#[derive(Deserialize)]
struct Running {
    verb: String,
}

impl Bound {
    /// Whether it is a binding of this instance that is there, and stays for now.
    fn is_of(&self, sold: &Sold) -> bool {
        let incarnation = self.spec.instance_incarnation.as_ref();
        let is_removed = self
            .record
            .operation
            .as_ref()
            .is_some_and(|running| running.verb == "Unbind");
        self.record.outputs.is_some()
            && !is_removed
            && incarnation.is_none_or(|incarnation| *incarnation == sold.spec.incarnation)
    }
}

/// What has been made of an instance.
pub(super) struct Made {
    pub(super) at: At,
    /// The metadata of its TemplateInstance.
    pub(super) instance: ObjectMeta,
    pub(super) secret_uid: Option<String>,
}

/// A projection that nothing stands behind in this broker.
pub(super) struct Stray {
    /// Where its TemplateInstance is, or was.
    pub(super) at: At,
    made_for: String,
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
}

/// What is to be done.
pub(super) enum Deed {
    Nothing,
    Create(Box<BrokerTemplateInstance>),
    Replace(Box<BrokerTemplateInstance>),
    /// It may be that of another broker with templates in the same cluster: then its TemplateInstance is there.
    RemoveIfLeftOver(Stray),
}

/// What the projection of an instance should be; `None` when its TemplateInstance is not ours.
pub(super) fn wanted(
    name: &str,
    sold: &Sold,
    bound: &[Bound],
    made: &Made,
    served: Served,
) -> Option<BrokerTemplateInstance> {
    let life = life_of(&sold.spec.incarnation);
    let said = |name: &str| annotation(&made.instance, name);
    if said(MADE_FOR) != Some(&life) || said(EXTERNAL_ID) != Some(sold.spec.instance_id.as_str()) {
        return None;
    }
    let reference = |kind: &str, uid: Option<&String>| ObjectReference {
        kind: Some(kind.to_owned()),
        namespace: Some(made.at.namespace.clone()),
        name: Some(made.at.name.clone()),
        uid: uid.cloned(),
        ..ObjectReference::default()
    };
    let ids: BTreeSet<&str> = bound
        .iter()
        .filter(|binding| binding.is_of(sold))
        .map(|binding| binding.spec.binding_id.as_str())
        // OpenShift takes nothing else.
        .filter(|id| served == Served::AsCustomResources || Uuid::try_parse(id).is_ok())
        .collect();
    let spec = BrokerTemplateInstanceSpec {
        template_instance: reference("TemplateInstance", made.instance.uid.as_ref()),
        secret: reference("Secret", made.secret_uid.as_ref()),
        binding_ids: ids.into_iter().map(str::to_owned).collect(),
    };
    let mut wanted = BrokerTemplateInstance::new(name, spec);
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    annotations.insert(MADE_FOR.to_owned(), life);
    Some(wanted)
}

/// What is to be done about what was found.
pub(super) fn decide(found: Option<&BrokerTemplateInstance>, wanted: Option<BrokerTemplateInstance>) -> Deed {
    match (found, wanted) {
        (None, None) => Deed::Nothing,
        (None, Some(wanted)) => Deed::Create(Box::new(wanted)),
        (Some(found), None) => match annotation(&found.metadata, MADE_FOR) {
            // The broker in Go has made it, or somebody else.
            None => Deed::Nothing,
            Some(life) => Deed::RemoveIfLeftOver(stray(found, life)),
        },
        // When it is gone, it is looked at again.
        (Some(found), Some(_)) if found.metadata.deletion_timestamp.is_some() => Deed::Nothing,
        (Some(found), Some(wanted)) => {
            let life = annotation(&wanted.metadata, MADE_FOR);
            if found.spec == wanted.spec && annotation(&found.metadata, MADE_FOR) == life {
                return Deed::Nothing;
            }
            let mut metadata = found.metadata.clone();
            let own = wanted.metadata.annotations.unwrap_or_default();
            metadata.annotations.get_or_insert_default().extend(own);
            Deed::Replace(Box::new(BrokerTemplateInstance {
                metadata,
                spec: wanted.spec,
                ..BrokerTemplateInstance::default()
            }))
        }
    }
}

fn stray(found: &BrokerTemplateInstance, life: &str) -> Stray {
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let instance = &found.spec.template_instance;
    Stray {
        at: At {
            namespace: said(&instance.namespace),
            name: said(&instance.name),
        },
        made_for: life.to_owned(),
        uid: found.metadata.uid.clone(),
        version: found.metadata.resource_version.clone(),
    }
}

/// Whether what a projection shows is not there any more.
pub(super) fn is_left_over(stray: &Stray, instance: Option<&ObjectMeta>) -> bool {
    instance.is_none_or(|instance| annotation(instance, MADE_FOR) != Some(&stray.made_for))
}

fn annotation<'m>(metadata: &'m ObjectMeta, name: &str) -> Option<&'m str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const UUID: &str = "5D9A1C1E-70a5-4f0e-9a3b-1b6a2f9a7c11";

    fn sold() -> Sold {
        serde_json::from_value(json!({"spec": {"instanceId": "a", "incarnation": "i"}})).unwrap()
    }

    fn made(life: &str) -> Made {
        let annotations = json!({EXTERNAL_ID: "a", MADE_FOR: life});
        Made {
            at: At {
                namespace: "shop".to_owned(),
                name: "a".to_owned(),
            },
            instance: serde_json::from_value(json!({"uid": "u", "annotations": annotations})).unwrap(),
            secret_uid: Some("s".to_owned()),
        }
    }

    fn bound(id: &str, of: &str, record: Value) -> Bound {
        let spec = json!({"bindingId": id, "instanceIncarnation": of});
        serde_json::from_value(json!({"spec": spec, "record": record})).unwrap()
    }

    fn ids(bound: &[Bound], served: Served) -> Vec<String> {
        wanted("a", &sold(), bound, &made("instance_i"), served)
            .unwrap()
            .spec
            .binding_ids
    }

    #[test]
    fn bindings_that_are_there_are_shown() {
        let done = json!({"outputs": "sealed"});
        let bindings = [
            bound("z", "i", done.clone()),
            bound(UUID, "i", done.clone()),
            bound("of another life", "j", done),
            bound("being made", "i", json!({"operation": {"verb": "Bind"}})),
            bound("failed", "i", json!({})),
            bound("going", "i", json!({"outputs": "x", "operation": {"verb": "Unbind"}})),
        ];
        assert_eq!(ids(&bindings, Served::AsCustomResources), [UUID, "z"]);
        assert_eq!(ids(&bindings, Served::ByCluster), [UUID]);
    }

    #[test]
    fn only_what_was_made_for_this_life_is_shown() {
        let of = |life: &str| wanted("a", &sold(), &[], &made(life), Served::AsCustomResources);
        assert!(of("instance_before").is_none());
        let shown = of("instance_i").unwrap();
        let spec = serde_json::to_value(&shown.spec).unwrap();
        assert_eq!(
            spec,
            json!({
                "templateInstance": {"kind": "TemplateInstance", "namespace": "shop", "name": "a", "uid": "u"},
                "secret": {"kind": "Secret", "namespace": "shop", "name": "a", "uid": "s"},
            })
        );
        assert_eq!(shown.metadata.owner_references, None);
    }

    #[test]
    fn what_is_there_is_made_as_it_should_be() {
        let new = || wanted("a", &sold(), &[], &made("instance_i"), Served::AsCustomResources);
        assert!(matches!(decide(None, None), Deed::Nothing));
        assert!(matches!(decide(None, new()), Deed::Create(_)));
        let mut found = new().unwrap();
        assert!(matches!(decide(Some(&found), new()), Deed::Nothing));
        found.spec.binding_ids.push("invented".to_owned());
        found.metadata.resource_version = Some("7".to_owned());
        let Deed::Replace(replaced) = decide(Some(&found), new()) else {
            panic!("it stays wrong")
        };
        assert_eq!(replaced.spec, new().unwrap().spec);
        assert_eq!(replaced.metadata.resource_version.as_deref(), Some("7"));
        // That of the broker in Go has no annotation: it is taken over.
        (found.spec, found.metadata.annotations) = (replaced.spec, None);
        assert!(matches!(decide(Some(&found), new()), Deed::Replace(_)));
        assert!(matches!(decide(Some(&found), None), Deed::Nothing));
    }

    #[test]
    fn what_is_left_over_goes_and_what_another_broker_shows_stays() {
        let found = wanted("a", &sold(), &[], &made("instance_i"), Served::AsCustomResources).unwrap();
        let Deed::RemoveIfLeftOver(stray) = decide(Some(&found), None) else {
            panic!("it is not looked at")
        };
        assert!(is_left_over(&stray, None));
        assert!(is_left_over(&stray, Some(&made("instance_later").instance)));
        assert!(!is_left_over(&stray, Some(&made("instance_i").instance)));
    }
}
