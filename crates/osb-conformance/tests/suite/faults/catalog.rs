//! Catalogs with one thing wrong.

use serde_json::{Value, json};

pub(crate) fn spoil(fault: &str, catalog: &mut Value) {
    if fault == "OSB-CAT-01" {
        catalog["services"] = Value::Null;
        return;
    }
    let word = json!("yes");
    let service = &mut catalog["services"][0];
    match fault {
        "OSB-URL-02" => service["plans"][2]["id"] = json!("plan app"),
        "OSB-CAT-05" => service["description"] = json!("x".repeat(300)),
        "OSB-SVC-01" => service["name"] = Value::Null,
        "OSB-SVC-02" => service["id"] = json!("svc-b"),
        "OSB-SVC-03" => service["description"] = json!(""),
        "OSB-SVC-04" => service["tags"] = word,
        "OSB-SVC-05" => service["requires"] = json!(["cake"]),
        "OSB-SVC-06" => service["bindable"] = word,
        "OSB-SVC-07" => service["instances_retrievable"] = word,
        "OSB-SVC-08" => service["bindings_retrievable"] = word,
        "OSB-SVC-09" => service["allow_context_updates"] = word,
        "OSB-SVC-10" => service["metadata"] = word,
        "OSB-SVC-11" => service["dashboard_client"] = json!({"id": "x"}),
        "OSB-SVC-12" => service["plan_updateable"] = word,
        "OSB-SVC-13" => service["plans"] = json!([]),
        "OSB-PROF-07" => service["metadata"]["displayName"] = json!(7),
        "OSB-BIND-19" => service["bindings_retrievable"] = json!(false),
        "OSB-BIND-22" => service["requires"] = json!(["route_forwarding", "volume_mount"]),
        "OSB-BIND-23" => service["requires"] = json!(["syslog_drain", "volume_mount"]),
        "OSB-BIND-24" => service["requires"] = json!(["syslog_drain", "route_forwarding"]),
        "OSB-POLL-02" => service["plans"][1]["maximum_polling_duration"] = json!(1),
        "OSB-SCH-06" => catalog["services"][1]["plans"][0]["schemas"] = json!({"service_binding": {}}),
        _ => plan(fault, &mut service["plans"][0]),
    }
}

fn plan(fault: &str, plan: &mut Value) {
    let word = json!("yes");
    match fault {
        "OSB-PLAN-01" => plan["id"] = json!("plan-slow"),
        "OSB-PLAN-02" => plan["name"] = Value::Null,
        "OSB-PLAN-03" => plan["description"] = Value::Null,
        "OSB-PLAN-04" => plan["metadata"] = word,
        "OSB-PLAN-05" => plan["free"] = word,
        "OSB-PLAN-06" => plan["bindable"] = word,
        "OSB-PLAN-07" => plan["binding_rotatable"] = word,
        "OSB-PLAN-08" => plan["plan_updateable"] = word,
        "OSB-PLAN-09" => plan["schemas"] = word,
        "OSB-PLAN-10" => plan["maximum_polling_duration"] = word,
        "OSB-PLAN-11" => plan["maintenance_info"] = json!({"description": "x"}),
        "OSB-PLAN-12" => plan["metadata"] = Value::Null,
        "OSB-SCH-01" => plan["schemas"]["service_instance"] = word,
        "OSB-MNT-01" => plan["maintenance_info"]["version"] = json!("1.2"),
        "OSB-MNT-02" => plan["maintenance_info"]["description"] = json!(7),
        "OSB-SCH-02" | "OSB-SCH-03" | "OSB-SCH-04" | "OSB-SCH-05" | "OSB-SCH-07" => {
            schema(fault, &mut plan["schemas"]["service_instance"]["create"]["parameters"]);
        }
        _ => {}
    }
}

fn schema(fault: &str, schema: &mut Value) {
    match fault {
        "OSB-SCH-02" => drop(schema.as_object_mut().unwrap().remove("$schema")),
        "OSB-SCH-03" => schema["definitions"]["word"] = json!({"$ref": "https://example.com/schema#/x"}),
        "OSB-SCH-04" => schema["description"] = json!("x".repeat(70_000)),
        "OSB-SCH-05" => schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema"),
        // The broker takes numbers only.
        _ => schema["properties"]["label"] = json!({"type": "boolean"}),
    }
}
