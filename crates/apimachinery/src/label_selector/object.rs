//! Selectors that stand in objects: a `LabelSelector`, or the older map of labels.

use super::{LabelSelector, Operator, Requirement};
use crate::json::Value;

impl LabelSelector {
    /// What a selector in an object means: one with `matchLabels` and `matchExpressions`, or a map of labels. What is not of
    /// its form counts for nothing; `None` when an operator is not known.
    pub fn of_object(selector: &Value<'_>) -> Option<Self> {
        let members = selector.as_object()?;
        let is_selector = members
            .keys()
            .all(|key| matches!(key, "matchLabels" | "matchExpressions"))
            && members.values().all(|value| !value.is_string());
        let labels = if is_selector {
            selector.get("matchLabels").and_then(Value::as_object)
        } else {
            Some(members)
        };
        let labels = labels.into_iter().flatten().map(|(key, value)| Requirement {
            key: key.to_owned(),
            operator: Operator::In(vec![value.as_str().unwrap_or_default().to_owned()]),
        });
        let mut requirements: Vec<Requirement> = labels.collect();
        if is_selector {
            for expression in selector
                .get("matchExpressions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                requirements.push(requirement(expression)?);
            }
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Some(Self { requirements })
    }
}

fn requirement(expression: &Value<'_>) -> Option<Requirement> {
    let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
    let mut values: Vec<String> = values.filter_map(Value::as_str).map(str::to_owned).collect();
    values.sort_unstable();
    let operator = match expression.get("operator").and_then(Value::as_str)? {
        "In" => Operator::In(values),
        "NotIn" => Operator::NotIn(values),
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        _ => return None,
    };
    Some(Requirement {
        key: expression.get("key").and_then(Value::as_str)?.to_owned(),
        operator,
    })
}

/// A selector that stands in an object, in the text form of queries. Empty when it asks for nothing, or cannot be read.
pub fn format(selector: &Value<'_>) -> String {
    LabelSelector::of_object(selector).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn both_forms_are_read() {
        for (selector, expected) in [
            (json!({"b": "2", "a": "1"}), "a=1,b=2"),
            (
                json!({"matchLabels": {"b": "2"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]}),
                "a,b=2",
            ),
            (
                json!({"matchExpressions": [{"key": "k", "operator": "In", "values": ["y", "x"]}, {"key": "n", "operator": "DoesNotExist"}]}),
                "k in (x,y),!n",
            ),
            (json!({"matchExpressions": [{"key": "k", "operator": "Odd"}]}), ""),
            (json!({"matchLabels": "odd"}), "matchLabels=odd"),
            (json!({}), ""),
            (json!([]), ""),
        ] {
            assert_eq!(format(&selector), expected, "{selector}");
        }
    }
}
