//! How long a large catalog takes. With `TEMPLATES=10000` and `--nocapture` it says so for as many; a usual run has a few and looks
//! only whether all is there.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};

use crate::mall::{Mall, TEMPLATES};

fn template(number: usize) -> Value {
    let parameters: Vec<Value> = (0..10)
        .map(|at| json!({"name": format!("PARAMETER_{at}"), "displayName": "A parameter", "description": "What it is for", "value": "x"}))
        .collect();
    json!({
        "apiVersion": "template.openshift.io/v1", "kind": "Template",
        "metadata": {"name": format!("t{number}"), "namespace": TEMPLATES, "annotations": {
            "description": "One of many", "tags": "many,alike", "openshift.io/display-name": format!("Template {number}"),
        }},
        "parameters": parameters,
        "objects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "annotations": {
            "template.openshift.io/expose-x": "{.data.x}",
        }}, "data": {"x": "${PARAMETER_0}"}}],
    })
}

/// The ids of a template's service and plan.
fn ids(name: &str) -> Value {
    let service = template_broker::ids::service(TEMPLATES, name);
    json!({"service_id": service, "plan_id": template_broker::ids::plan(TEMPLATES, name, "default")})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_catalog_is_loaded_and_follows_changes() {
    let count: usize = std::env::var("TEMPLATES").map_or(50, |text| text.parse().expect("a number"));
    let mut mall = Mall::open(&[]).await;
    for number in 0..count {
        mall.apply(&template(number)).await;
    }
    let length = async |mall: &Mall| {
        let begin = Instant::now();
        let catalog = mall.request(Method::GET, "/v2/catalog", None).await.body;
        let size = catalog.to_string().len();
        eprintln!("a catalog of {size} bytes: {:?}, reading it included", begin.elapsed());
        catalog["services"].as_array().map_or(0, Vec::len)
    };
    let begin = Instant::now();
    mall.broker.restart().await;
    eprintln!("{count} templates: a start in {:?}", begin.elapsed());
    assert_eq!(length(&mall).await, count);
    let begin = Instant::now();
    mall.apply(&template(count)).await;
    let mut looks = 0;
    // By a request that needs the service, which costs less than the catalog.
    let ids = ids(&format!("t{count}"));
    while mall.provision_refused(&ids).await {
        looks += 1;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    eprintln!("a further one is there after {:?} ({looks} looks)", begin.elapsed());
    assert_eq!(length(&mall).await, count + 1);
}
