//! The catalog: each optional feature occurs.

use serde_json::{Value, json};

use super::{Ask, Broker, Reply, State};

pub(crate) const ETAG: &str = "\"catalog-1\"";
const MODIFIED: &str = "Sat, 01 Mar 2025 10:00:00 GMT";

fn schema(name: &str) -> Value {
    json!({"parameters": {
        "$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false,
        "properties": {name: {"$ref": "#/definitions/word"}, "size": {"type": "integer"}},
        "definitions": {"word": {"type": "string"}},
    }})
}

pub(crate) fn catalog() -> Value {
    json!({"services": [
        {
            "id": "svc-a", "name": "all", "description": "Has everything", "bindable": true, "tags": ["a"],
            "requires": ["syslog_drain", "route_forwarding", "volume_mount"], "instances_retrievable": true,
            "bindings_retrievable": true, "allow_context_updates": true, "plan_updateable": true,
            "metadata": {"displayName": "All", "shareable": true},
            "dashboard_client": {"id": "client", "secret": "canary-secret", "redirect_uri": "https://d"},
            "plans": [
                {
                    "id": "plan-sync", "name": "sync", "description": "At once", "free": false, "bindable": true,
                    "binding_rotatable": true, "plan_updateable": true, "maximum_polling_duration": 3600,
                    "maintenance_info": {"version": "1.2.3+a", "description": "Short"},
                    "metadata": {"bullets": ["b"], "costs": [], "displayName": "Sync"},
                    "schemas": {
                        "service_instance": {"create": schema("label"), "update": schema("label")},
                        "service_binding": {"create": schema("role")},
                    },
                },
                {
                    "id": "plan-slow", "name": "slow", "description": "In the end", "binding_rotatable": true,
                    "maximum_polling_duration": 60,
                },
                {"id": "plan-app", "name": "app", "description": "For applications"},
            ],
        },
        {
            "id": "svc-b", "name": "plain", "description": "Has nothing", "bindable": false,
            "plans": [
                {"id": "plan-closed", "name": "closed", "description": "Cannot be bound"},
                {"id": "plan-other", "name": "other", "description": "Cannot be bound either"},
            ],
        },
    ]})
}

impl Broker {
    pub(crate) fn catalog(&self, state: &mut State, ask: &Ask) -> Reply {
        state.fetches += 1;
        let condition = ask.header("if-none-match");
        let tags: Vec<&str> = condition
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .collect();
        let star = condition == "*" && !self.breaks("OSB-CAT-07");
        let since = ask.header("if-modified-since");
        let unchanged = condition.is_empty() && since == MODIFIED && !self.breaks("OSB-CAT-08");
        let mut reply = Reply::new(200, catalog());
        if star || tags.contains(&ETAG) || unchanged {
            reply.status = 304;
            reply.body = None;
        }
        reply.headers.insert("etag".to_owned(), ETAG.to_owned());
        reply.headers.insert("last-modified".to_owned(), MODIFIED.to_owned());
        if self.breaks("OSB-CAT-02")
            && let Some(body) = &mut reply.body
        {
            body["services"][1]["plans"][1]["id"] = json!(format!("plan-{}", state.fetches));
        }
        reply
    }
}
