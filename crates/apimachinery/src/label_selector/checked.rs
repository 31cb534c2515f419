//! Label selectors of objects, checked field by field.

use crate::field::{self, FieldError};
use crate::json::Value;
use crate::meta;

use super::{LabelSelector, Operator, Requirement};

impl LabelSelector {
    /// Reads a `metav1.LabelSelector` that stands at `path`. The empty object gives the empty selector, which matches
    /// everything; what stands there but is no object is read as empty.
    ///
    /// # Errors
    ///
    /// Each label, value or operator that is wrong.
    pub fn from_object(selector: &Value<'_>, path: &str) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut requirements = Vec::new();
        let labels = selector.get("matchLabels");
        meta::validate_labels(labels, &field::child(path, "matchLabels"), &mut errors);
        for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
            requirements.push(Requirement {
                key: key.to_owned(),
                operator: Operator::In(vec![value.as_str().unwrap_or_default().to_owned()]),
            });
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        let expressions_path = field::child(path, "matchExpressions");
        for (i, expression) in expressions.into_iter().flatten().enumerate() {
            requirements.extend(requirement(
                expression,
                &field::index(&expressions_path, i),
                &mut errors,
            ));
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        if errors.is_empty() {
            Ok(Self { requirements })
        } else {
            Err(errors)
        }
    }
}

fn requirement(expression: &Value<'_>, path: &str, errors: &mut Vec<FieldError>) -> Option<Requirement> {
    let text = |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or_default();
    let values = expression.get("values").and_then(Value::as_array);
    let mut values: Vec<String> = values
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let values_path = field::child(path, "values");
    let operator = match text("operator") {
        operator @ ("In" | "NotIn") => {
            if values.is_empty() {
                errors.push(FieldError::required(
                    values_path,
                    "must be specified when `operator` is 'In' or 'NotIn'",
                ));
            } else {
                let wrong = values.iter().enumerate().flat_map(|(i, value)| {
                    let at = field::index(&values_path, i);
                    meta::label_value_problems(value)
                        .into_iter()
                        .map(move |problem| FieldError::invalid(at.clone(), value.as_str(), problem))
                });
                errors.extend(wrong);
            }
            values.sort_unstable();
            if operator == "In" {
                Operator::In(values)
            } else {
                Operator::NotIn(values)
            }
        }
        operator @ ("Exists" | "DoesNotExist") => {
            if !values.is_empty() {
                errors.push(FieldError::forbidden(
                    values_path,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ));
            }
            if operator == "Exists" {
                Operator::Exists
            } else {
                Operator::DoesNotExist
            }
        }
        other => {
            errors.push(FieldError::invalid(
                field::child(path, "operator"),
                other,
                "not a valid selector operator",
            ));
            return None;
        }
    };
    let key = text("key");
    errors.extend(
        meta::qualified_name_problems(key)
            .into_iter()
            .map(|problem| FieldError::invalid(field::child(path, "key"), key, problem)),
    );
    Some(Requirement {
        key: key.to_owned(),
        operator,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn matches(selector: &Value<'_>, labels: &Value<'_>) -> bool {
        let selector = LabelSelector::from_object(selector, "s").expect("a selector");
        selector.matches(labels.as_object().expect("labels"))
    }

    #[test]
    fn labels_and_expressions_must_all_hold() {
        let selector = json!({
            "matchLabels": {"a": "1"},
            "matchExpressions": [
                {"key": "b", "operator": "In", "values": ["y", "x"]},
                {"key": "c", "operator": "NotIn", "values": ["z"]},
                {"key": "d", "operator": "Exists"},
                {"key": "e", "operator": "DoesNotExist"},
            ],
        });
        assert!(matches(&selector, &json!({"a": "1", "b": "x", "d": ""})));
        for labels in [
            json!({"a": "2", "b": "x", "d": ""}),
            json!({"a": "1", "b": "z", "d": ""}),
            json!({"a": "1", "b": "x", "c": "z", "d": ""}),
            json!({"a": "1", "b": "x"}),
            json!({"a": "1", "b": "x", "d": "", "e": ""}),
        ] {
            assert!(!matches(&selector, &labels), "{labels}");
        }
        assert!(matches(&json!({}), &json!({"any": "thing"})));
    }

    #[test]
    fn what_is_wrong_is_said_of_each_field() {
        let selector = json!({"matchLabels": {"-": "1"}, "matchExpressions": [
            {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["1"]}, {"key": "a", "operator": "Is"},
            {"key": "a b", "operator": "In", "values": ["a b"]},
        ]});
        let errors = LabelSelector::from_object(&selector, "s").expect_err("it is wrong");
        let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "s.matchLabels",
                "s.matchExpressions[0].values",
                "s.matchExpressions[1].values",
                "s.matchExpressions[2].operator",
                "s.matchExpressions[3].values[0]",
                "s.matchExpressions[3].key",
            ]
        );
    }
}
