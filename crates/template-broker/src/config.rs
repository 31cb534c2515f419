//! The configuration file of the broker in Go.

use serde::Deserialize;

/// What `kind` and `apiVersion` of such a file are.
const KIND: (&str, &str) = (
    "TemplateServiceBrokerConfig",
    "config.templateservicebroker.openshift.io/v1",
);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    template_namespaces: Vec<String>,
}

/// Why a file is no such configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read as YAML or JSON.
    #[error("it is no YAML: {0}")]
    Yaml(String),
    /// It is something else.
    #[error("it is no {kind} of {version}", kind = KIND.0, version = KIND.1)]
    Kind,
    /// No namespace is in it.
    #[error("templateNamespaces names no namespace")]
    Empty,
}

/// The namespaces whose templates such a file wants to be offered.
///
/// # Errors
/// [`ConfigError`].
///
/// ```
/// let text = "kind: TemplateServiceBrokerConfig\n\
///     apiVersion: config.templateservicebroker.openshift.io/v1\n\
///     templateNamespaces: [openshift]\n";
/// assert_eq!(template_broker::config::namespaces(text).unwrap(), ["openshift"]);
/// ```
pub fn namespaces(text: &str) -> Result<Vec<String>, ConfigError> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(error.to_string()))?;
    if (file.kind.as_str(), file.api_version.as_str()) != KIND {
        return Err(ConfigError::Kind);
    }
    if file.template_namespaces.is_empty() {
        return Err(ConfigError::Empty);
    }
    Ok(file.template_namespaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_and_empty_ones_are_refused() {
        let head = "kind: TemplateServiceBrokerConfig\napiVersion: config.templateservicebroker.openshift.io/v1\n";
        assert_eq!(
            namespaces(&format!("{head}templateNamespaces: [a, b]\n")).unwrap(),
            ["a", "b"]
        );
        assert_eq!(namespaces(head), Err(ConfigError::Empty));
        assert_eq!(namespaces("templateNamespaces: [a]\n"), Err(ConfigError::Kind));
        assert!(matches!(namespaces("{"), Err(ConfigError::Yaml(_))));
    }
}
