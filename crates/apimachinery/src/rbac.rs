//! The rules of role based access control: what a rule allows, and whether rules cover others.

use std::collections::BTreeMap;
use std::fmt;

use crate::go;
use crate::json::{Map, Value};

/// The group of the kinds.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// How many single permissions [`uncovered`] takes a rule apart into at most. A rule of more is covered only by one rule that
/// covers it whole.
pub const MAX_PERMISSIONS: usize = 10_000;

/// A rule of a role. Missing members are empty lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The verbs, or `*`.
    pub verbs: Vec<String>,
    /// The API groups, or `*`; the core group is the empty text.
    pub api_groups: Vec<String>,
    /// `resource`, `resource/part`, `*/part` or `*`.
    pub resources: Vec<String>,
    /// The objects; none named means all.
    pub resource_names: Vec<String>,
    /// Paths that are no resources; one that ends in `*` stands for all that start with it.
    pub non_resource_urls: Vec<String>,
}

/// What somebody wants to do, as a rule looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'r> {
    /// Something with a resource.
    Resource {
        /// The API group.
        group: &'r str,
        /// The plural name.
        resource: &'r str,
        /// The part of the object, or empty.
        subresource: &'r str,
        /// The object, or empty.
        name: &'r str,
    },
    /// Something with a path that is no resource.
    Path(&'r str),
}

fn list(rule: &Value<'_>, name: &str) -> Vec<String> {
    let texts = rule.get(name).and_then(Value::as_array);
    texts
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|known| known == wanted)
}

/// Whether a list of verbs or groups has this one or the star.
fn has_or_all(list: &[String], wanted: &str) -> bool {
    list.iter().any(|known| known == wanted || known == "*")
}

fn path_covers(pattern: &str, path: &str) -> bool {
    pattern == path || (pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*')))
}

impl Rule {
    /// Reads a rule. What is no list of texts is left out.
    pub fn read(rule: &Value<'_>) -> Rule {
        Rule {
            verbs: list(rule, "verbs"),
            api_groups: list(rule, "apiGroups"),
            resources: list(rule, "resources"),
            resource_names: list(rule, "resourceNames"),
            non_resource_urls: list(rule, "nonResourceURLs"),
        }
    }

    /// Reads the member `rules` of a role.
    pub fn read_all(role: &Value<'_>) -> Vec<Rule> {
        let rules = role.get("rules").and_then(Value::as_array);
        rules.into_iter().flatten().map(Rule::read).collect()
    }

    /// The rule as it stands in a role. Empty lists are left out, but for the verbs.
    pub fn to_value(&self) -> Value<'static> {
        let mut rule = Map::new();
        rule.insert("verbs", self.verbs.clone());
        for (name, list) in [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ] {
            if !list.is_empty() {
                rule.insert(name, list.clone());
            }
        }
        rule.into()
    }

    /// Whether the rule allows a verb on something.
    pub fn allows(&self, verb: &str, subject: &Subject<'_>) -> bool {
        has_or_all(&self.verbs, verb)
            && match subject {
                Subject::Resource {
                    group,
                    resource,
                    subresource,
                    name,
                } => {
                    has_or_all(&self.api_groups, group)
                        && self.resources.iter().any(|known| is_of(known, resource, subresource))
                        && (self.resource_names.is_empty() || has(&self.resource_names, name))
                }
                Subject::Path(path) => self.non_resource_urls.iter().any(|known| path_covers(known, path)),
            }
    }

    /// Whether the rule allows everything that `other` allows, as far as one rule alone can tell.
    fn covers(&self, other: &Rule) -> bool {
        let all = |own: &[String], others: &[String]| has(own, "*") || others.iter().all(|other| has(own, other));
        all(&self.verbs, &other.verbs)
            && all(&self.api_groups, &other.api_groups)
            && other.resources.iter().all(|resource| self.has_resource(resource))
            && (self.resource_names.is_empty()
                || (!other.resource_names.is_empty()
                    && other.resource_names.iter().all(|name| has(&self.resource_names, name))))
            && other
                .non_resource_urls
                .iter()
                .all(|path| self.non_resource_urls.iter().any(|own| path_covers(own, path)))
    }

    fn has_resource(&self, wanted: &str) -> bool {
        self.resources.iter().any(|own| {
            own == "*"
                || own == wanted
                || wanted
                    .split_once('/')
                    .is_some_and(|(_, part)| own.strip_prefix("*/") == Some(part))
        })
    }

    /// How many single permissions the rule is made of.
    fn size(&self) -> usize {
        let resources = self.api_groups.len().saturating_mul(self.resources.len());
        let named = resources.saturating_mul(self.resource_names.len().max(1));
        named
            .saturating_add(self.non_resource_urls.len())
            .saturating_mul(self.verbs.len())
    }

    /// The rule as rules of one verb, one group, one resource and at most one name, or one path.
    fn permissions(&self) -> Vec<Rule> {
        let one = |text: &String| vec![text.clone()];
        let mut all = Vec::with_capacity(self.size());
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let permission = |resource_names| Rule {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        resource_names,
                        non_resource_urls: Vec::new(),
                    };
                    if self.resource_names.is_empty() {
                        all.push(permission(Vec::new()));
                    }
                    all.extend(self.resource_names.iter().map(|name| permission(one(name))));
                }
            }
        }
        for path in &self.non_resource_urls {
            all.extend(self.verbs.iter().map(|verb| Rule {
                verbs: one(verb),
                non_resource_urls: one(path),
                ..Rule::default()
            }));
        }
        all
    }
}

/// Whether a rule's resource stands for a resource or a part of it.
fn is_of(known: &str, resource: &str, subresource: &str) -> bool {
    if known == "*" {
        return true;
    }
    if subresource.is_empty() {
        return known == resource;
    }
    known
        .split_once('/')
        .is_some_and(|(main, part)| part == subresource && (main == "*" || main == resource))
}

/// As in messages about permissions that somebody does not hold: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        f.write_str("{")?;
        for (i, (name, list)) in parts.iter().filter(|(_, list)| !list.is_empty()).enumerate() {
            let quoted: Vec<String> = list.iter().map(|text| go::quote(text)).collect();
            write!(f, "{}{name}:[{}]", if i > 0 { ", " } else { "" }, quoted.join(" "))?;
        }
        f.write_str("}")
    }
}

/// The single permissions of `wanted` that no rule of `held` allows, those of one resource put together again. Empty: `held`
/// covers `wanted`. A rule of more than [`MAX_PERMISSIONS`] that no rule covers whole is returned as it is.
pub fn uncovered(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut left = Vec::new();
    let mut budget = MAX_PERMISSIONS;
    for rule in wanted {
        if held.iter().any(|own| own.covers(rule)) {
            continue;
        }
        match budget.checked_sub(rule.size()) {
            Some(rest) => {
                budget = rest;
                let permissions = rule.permissions();
                left.extend(
                    permissions
                        .into_iter()
                        .filter(|one| !held.iter().any(|own| own.covers(one))),
                );
            }
            None => left.push(rule.clone()),
        }
    }
    compact(left)
}

/// Joins the verbs of rules that are about the same resource and object.
fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut others = Vec::new();
    let mut simple: BTreeMap<(String, String, Option<String>), Rule> = BTreeMap::new();
    for rule in rules {
        let is_simple = rule.resource_names.len() <= 1
            && rule.non_resource_urls.is_empty()
            && rule.api_groups.len() == 1
            && rule.resources.len() == 1;
        if !is_simple {
            others.push(rule);
            continue;
        }
        let key = (
            rule.api_groups[0].clone(),
            rule.resources[0].clone(),
            rule.resource_names.first().cloned(),
        );
        simple
            .entry(key)
            .and_modify(|known| known.verbs.extend(rule.verbs.iter().cloned()))
            .or_insert(rule);
    }
    others.extend(simple.into_values());
    others
}

#[cfg(test)]
mod tests;
