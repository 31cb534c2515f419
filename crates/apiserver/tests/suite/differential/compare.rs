//! The answers of two servers, side by side.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::player::{Content, Exchange};

/// One place at which two answers differ.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// `code`, `warnings`, `type`, or a path into the body such as `body.items.*.metadata.uid`; positions in arrays are `*`.
    pub(crate) path: String,
    /// `Null` where there is nothing.
    pub(crate) real: Value,
    pub(crate) ours: Value,
}

/// The differences of a script's answers, in order: position of the exchange and difference.
pub(crate) fn differences(real: &[Exchange], ours: &[Exchange]) -> Vec<(usize, Difference)> {
    // What only one of them accepted would shift the order of what the other one never showed.
    let alike = real
        .iter()
        .zip(ours)
        .filter(|(real, ours)| (real.code < 300) == (ours.code < 300));
    let (alike_real, alike_ours): (Vec<&Exchange>, Vec<&Exchange>) = alike.unzip();
    let (real_names, our_names) = (Names::of(&alike_real), Names::of(&alike_ours));
    let mut found = Vec::new();
    for (position, (real, ours)) in real.iter().zip(ours).enumerate() {
        let mut here = Vec::new();
        compare("", &real_names.normal(real), &our_names.normal(ours), &mut here);
        found.extend(here.into_iter().map(|difference| (position, difference)));
    }
    found
}

fn compare(path: &str, real: &Value, ours: &Value, found: &mut Vec<Difference>) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match (real, ours) {
        (Value::Object(real), Value::Object(ours)) => {
            let names: BTreeSet<&String> = real.keys().chain(ours.keys()).collect();
            for name in names {
                compare(
                    &below(name),
                    real.get(name).unwrap_or(&Value::Null),
                    ours.get(name).unwrap_or(&Value::Null),
                    found,
                );
            }
        }
        (Value::Array(real), Value::Array(ours)) if real.len() == ours.len() => {
            real.iter()
                .zip(ours)
                .for_each(|(real, ours)| compare(&below("*"), real, ours, found));
        }
        _ if real == ours => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            real: real.clone(),
            ours: ours.clone(),
        }),
    }
}

/// What a server has named, in the order in which it did: this is what must agree, not the names.
struct Names {
    uids: BTreeMap<String, usize>,
    revisions: BTreeSet<u64>,
    /// By collection.
    revisions_of: BTreeMap<String, BTreeSet<u64>>,
}

impl Names {
    fn of(exchanges: &[&Exchange]) -> Names {
        let mut names = Names {
            uids: BTreeMap::new(),
            revisions: BTreeSet::new(),
            revisions_of: BTreeMap::new(),
        };
        for exchange in exchanges {
            let collection = resource(exchange);
            let before = (names.revisions.clone(), names.revisions_of.clone());
            match &exchange.content {
                Content::Json(value) => names.learn(&collection, value),
                Content::Events(events) => events.iter().for_each(|event| names.learn(&collection, event)),
                Content::Text(_) => {}
            }
            // What a dry run would create has no revision of this server.
            if exchange.code == 201 && exchange.template.path.contains("dryRun=All") {
                (names.revisions, names.revisions_of) = before;
            }
        }
        names
    }

    fn learn(&mut self, collection: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(uid) = members.get("uid").and_then(Value::as_str) {
                    let next = self.uids.len();
                    self.uids.entry(uid.to_owned()).or_insert(next);
                    if let Some(revision) = revision(members) {
                        self.revisions.insert(revision);
                        self.revisions_of
                            .entry(collection.to_owned())
                            .or_default()
                            .insert(revision);
                    }
                }
                members.values().for_each(|member| self.learn(collection, member));
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn(collection, item)),
            _ => {}
        }
    }

    fn normal(&self, exchange: &Exchange) -> Value {
        let collection = resource(exchange);
        let body = match &exchange.content {
            Content::Json(value) => self.normal_value(&collection, value),
            Content::Text(text) => Value::from(text.as_str()),
            Content::Events(events) => events
                .iter()
                .map(|event| self.normal_value(&collection, event))
                .collect(),
        };
        json!({"code": exchange.code, "type": exchange.content_type, "warnings": exchange.warnings, "body": body})
    }

    fn normal_value(&self, collection: &str, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let mut out: Map<String, Value> = members
                    .iter()
                    .map(|(name, member)| (name.clone(), self.normal_member(collection, members, name, member)))
                    .collect();
                if let Some(Value::Array(entries)) = out.get_mut("managedFields") {
                    // They are sorted by times, which are not those of the other server.
                    entries.sort_by_key(Value::to_string);
                }
                if let Some(Value::Array(resources)) = out.get_mut("resources") {
                    // Nothing is said about their order.
                    resources.sort_by_key(|resource| resource["name"].to_string());
                }
                if let Some(Value::Array(causes)) = out.get_mut("causes") {
                    // The set of causes counts.
                    causes.sort_by_key(Value::to_string);
                    causes.dedup();
                }
                Value::Object(out)
            }
            Value::Array(items) => items.iter().map(|item| self.normal_value(collection, item)).collect(),
            other => other.clone(),
        }
    }

    fn normal_member(&self, collection: &str, members: &Map<String, Value>, name: &str, member: &Value) -> Value {
        let Some(text) = member.as_str() else {
            return match (name, member) {
                ("cells", Value::Array(cells)) => cells.iter().map(age).collect(),
                _ => self.normal_value(collection, member),
            };
        };
        match name {
            "uid" => self
                .uids
                .get(text)
                .map_or_else(|| member.clone(), |number| format!("uid {number}").into()),
            "resourceVersion" => match (text.parse::<u64>(), members.contains_key("uid")) {
                (Ok(revision), true) => format!("revision {}", self.revisions.range(..revision).count()).into(),
                (Ok(revision), false) => {
                    let seen = self
                        .revisions_of
                        .get(collection)
                        .map_or(0, |seen| seen.range(..=revision).count());
                    format!("not older than {seen} revisions").into()
                }
                (Err(_), _) => member.clone(),
            },
            "creationTimestamp" | "deletionTimestamp" | "lastTransitionTime" => "time".into(),
            "time" if members.contains_key("fieldsType") => "time".into(),
            "continue" if !text.is_empty() => "token".into(),
            "name" if is_generated(members, text) => "generated".into(),
            "message" => self.normal_text(text).into(),
            _ => member.clone(),
        }
    }

    /// A text for people in which uids and revisions are named by their order.
    fn normal_text(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (uid, number) in &self.uids {
            out = out.replace(uid, &format!("uid {number}"));
        }
        if !out.contains("recondition") {
            return out;
        }
        let number = |word: &str| {
            let digits = word.trim_end_matches(',');
            let revision = digits
                .parse()
                .ok()
                .filter(|revision| self.revisions.contains(revision))?;
            let rank = self.revisions.range(..revision).count();
            Some(format!("revision {rank}{}", &word[digits.len()..]))
        };
        out.split(' ')
            .map(|word| number(word).unwrap_or_else(|| word.to_owned()))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn resource(exchange: &Exchange) -> String {
    exchange.template.collection().trim_start_matches("old").to_owned()
}

fn revision(members: &Map<String, Value>) -> Option<u64> {
    members.get("resourceVersion")?.as_str()?.parse().ok()
}

fn is_generated(metadata: &Map<String, Value>, name: &str) -> bool {
    let prefix = metadata.get("generateName").and_then(Value::as_str);
    prefix.is_some_and(|prefix| name.len() == prefix.len() + 5 && name.starts_with(prefix))
}

fn age(cell: &Value) -> Value {
    let is_age = cell
        .as_str()
        .is_some_and(|text| text.ends_with('s') && text[..text.len() - 1].parse::<u32>().is_ok());
    if is_age { json!("age") } else { cell.clone() }
}
