//! The definitions of all resources of a broker: ours with the author's fields, and those of his own kinds.

use std::sync::Arc;

use osb_api::Object;
use serde_json::{Value, json};

use super::column::Column;
use super::{FieldsType, Kinds};
use crate::resource;

/// What an author adds to the resources.
#[derive(Debug)]
pub(crate) struct Additions {
    /// The schema of each of the author's fields of an instance.
    pub(crate) fields: Object,
    /// The columns of the instances, ready for the definition.
    columns: Vec<Value>,
    pub(crate) kinds: Arc<Kinds>,
}

impl Additions {
    /// The fields and columns of all offerings, and the kinds.
    pub(crate) fn of(types: &[(String, &FieldsType)], kinds: Kinds) -> Result<Self, String> {
        let fields = super::together(types.iter().map(|(offering, fields)| (offering.as_str(), *fields)))?;
        let mut columns: Vec<&Column> = Vec::new();
        for column in types.iter().flat_map(|(_, fields)| fields.columns()) {
            match columns.iter().find(|other| other.name == column.name) {
                Some(other) if *other == column => {}
                Some(_) => return Err(format!("there are two columns {:?}", column.name)),
                None => columns.push(column),
            }
        }
        let columns = columns.into_iter().map(|column| column.definition(".ext")).collect();
        Ok(Self {
            fields,
            columns,
            kinds: Arc::new(kinds),
        })
    }

    /// Our definitions with the additions in them.
    pub(crate) fn definitions(&self, group: &str) -> Result<Vec<Value>, String> {
        let mut definitions = resource::definitions(group);
        definitions.extend(self.kinds.definitions(group));
        if self.fields.is_empty() {
            return Ok(definitions);
        }
        let instances = definitions
            .iter_mut()
            .find(|definition| definition["spec"]["names"]["kind"] == "ServiceInstance");
        if let Some(instances) = instances {
            let version = &mut instances["spec"]["versions"][0];
            version["schema"]["openAPIV3Schema"]["properties"]["ext"] = json!({
                "type": "object", "properties": self.fields,
                // It is one field for everybody who applies: its owner is the author's code.
                "x-kubernetes-map-type": "atomic",
            });
            self.add_columns(&mut version["additionalPrinterColumns"])?;
        }
        Ok(definitions)
    }

    /// Whether a home that knows these knows others, too.
    pub(crate) fn cover(&self, others: &Self) -> bool {
        let has = |(name, schema): (&String, &Value)| self.fields.get(name) == Some(schema);
        others.fields.iter().all(has) && self.kinds.cover(&others.kinds)
    }

    /// Puts the author's columns before the age.
    fn add_columns(&self, columns: &mut Value) -> Result<(), String> {
        let Some(columns) = columns.as_array_mut() else {
            return Ok(());
        };
        let named = |column: &Value, name: &Value| {
            let lower = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
            lower(&column["name"]) == lower(name)
        };
        if let Some(taken) = self
            .columns
            .iter()
            .find(|own| columns.iter().any(|column| named(column, &own["name"])))
        {
            return Err(format!("the broker has a column {} of its own", taken["name"]));
        }
        let age = columns.iter().position(|column| column["name"] == "Age");
        let at = age.unwrap_or(columns.len());
        columns.splice(at..at, self.columns.iter().cloned());
        Ok(())
    }
}
