//! The kinds become known.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, DeleteParams, PostParams};
use template_controller::resources::{
    Body, BrokerTemplateInstance, BrokerTemplateInstanceSpec, Requester, SecretRef, Template, TemplateInstance,
    TemplateInstanceSpec,
};
use template_controller::{Served, install};

use crate::places::on_each_place;

const TEMPLATE: &str = r#"{"apiVersion": "template.openshift.io/v1", "kind": "Template", "metadata": {"name": "a"},
    "message": "hello", "labels": {"l": "${A}"},
    "parameters": [{"name": "A", "value": 3}, {"name": "B", "generate": "expression", "from": "[a-z]{3}", "required": true}],
    "objects": [{"apiVersion": "v1", "kind": "ConfigMap", "spec": {"replicas": "${{A}}", "x": {"y": [1, null]}}}]}"#;

on_each_place! {
    async fn all_three_kinds_keep_what_is_written(place: Place) {
        let client = place.client();
        assert_eq!(install(&client).await.unwrap(), Served::AsCustomResources);
        // A second time changes nothing.
        assert_eq!(install(&client).await.unwrap(), Served::AsCustomResources);

        let templates: Api<Template> = Api::namespaced(client.clone(), "default");
        let mut template: Template = serde_json::from_str(TEMPLATE).unwrap();
        template.metadata.name = Some(place.name.clone());
        let made = templates.create(&PostParams::default(), &template).await.unwrap();
        let texts: Vec<serde_json::Value> =
            made.objects.iter().map(|object| serde_json::from_str(object.get()).unwrap()).collect();
        assert_eq!(
            serde_json::Value::from(texts),
            serde_json::json!([{"apiVersion": "v1", "kind": "ConfigMap", "spec": {"replicas": "${{A}}", "x": {"y": [1, null]}}}])
        );
        assert_eq!((made.message.as_deref(), &*made.labels["l"]), (Some("hello"), "${A}"));
        assert_eq!(made.parameters, template.parameters);

        let instances: Api<TemplateInstance> = Api::namespaced(client.clone(), "default");
        let requester = Requester {
            username: "eve".to_owned(),
            uid: "7".to_owned(),
            groups: vec!["dev".to_owned()],
            extra: [("k".to_owned(), vec!["v".to_owned()])].into(),
        };
        let spec = TemplateInstanceSpec {
            template: made.body().unwrap(),
            secret: Some(SecretRef { name: "values".to_owned() }),
            requester: Some(requester.clone()),
            revision: Some("1".to_owned()),
        };
        let made = instances.create(&PostParams::default(), &TemplateInstance::new(&place.name, spec)).await.unwrap();
        assert_eq!(made.metadata.generation, Some(1));
        assert_eq!(made.spec.requester, Some(requester));
        let body = made.spec.template.read().unwrap();
        assert_eq!((body.name(), body.objects.len(), body.parameters.len()), (&*place.name, 1, 2));

        let broker: Api<BrokerTemplateInstance> = Api::all(client.clone());
        let reference = |kind: &str| ObjectReference {
            kind: Some(kind.to_owned()),
            namespace: Some("default".to_owned()),
            name: Some(place.name.clone()),
            ..ObjectReference::default()
        };
        let spec = BrokerTemplateInstanceSpec {
            template_instance: reference("TemplateInstance"),
            secret: reference("Secret"),
            binding_ids: vec!["one".to_owned()],
        };
        let made = broker.create(&PostParams::default(), &BrokerTemplateInstance::new(&place.name, spec.clone())).await.unwrap();
        assert_eq!(made.spec, spec);

        templates.delete(&place.name, &DeleteParams::default()).await.unwrap();
        instances.delete(&place.name, &DeleteParams::default()).await.unwrap();
        broker.delete(&place.name, &DeleteParams::default()).await.unwrap();
    }

    async fn a_template_with_one_parameter_twice_is_refused(place: Place) {
        let client = place.client();
        install(&client).await.unwrap();
        let instances: Api<TemplateInstance> = Api::namespaced(client, "default");
        let template = Body::from_text(r#"{"parameters": [{"name": "A"}, {"name": "A"}], "objects": []}"#.to_owned());
        let spec = TemplateInstanceSpec { template: template.unwrap(), ..TemplateInstanceSpec::default() };
        let refused = instances.create(&PostParams::default(), &TemplateInstance::new(&place.name, spec)).await;
        assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 422));
    }
}
