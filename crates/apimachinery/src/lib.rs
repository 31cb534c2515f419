//! The pure rules of the Kubernetes API: Status, selectors, patches, structural schemas, JSONPath, tables.
