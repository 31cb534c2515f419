//! What a rule has found.

use std::fmt;

use serde::Serialize;

use crate::place::Place;

/// Who minds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// The Open Service Broker API 2.17, so every platform.
    Specification,
    /// Cloud Foundry's Cloud Controller.
    CloudFoundry,
    /// Korifi, Cloud Foundry on Kubernetes.
    Korifi,
    /// Kubernetes' Service Catalog.
    ServiceCatalog,
    /// SAP's Service Manager.
    ServiceManager,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Specification,
        Self::CloudFoundry,
        Self::Korifi,
        Self::ServiceCatalog,
        Self::ServiceManager,
    ];

    /// As in JSON: `cloud-foundry`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Specification => "specification",
            Self::CloudFoundry => "cloud-foundry",
            Self::Korifi => "korifi",
            Self::ServiceCatalog => "service-catalog",
            Self::ServiceManager => "service-manager",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Specification => "specification",
            Self::CloudFoundry => "Cloud Foundry",
            Self::Korifi => "Korifi",
            Self::ServiceCatalog => "Service Catalog",
            Self::ServiceManager => "Service Manager",
        })
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Notice,
    /// Taken, but some platform reads it differently, or somebody loses something.
    Warning,
    /// The platform refuses the catalog or fails on it; or instances that exist can no longer be managed.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Something to mend.
///
/// As JSON: `{"rule": "cf-tags-long", "severity": "error", "platform": "cloud-foundry", "place": "/services/0/tags",
/// "what": …, "mend": …, "says": …, "meaning": [{"platform": …, "text": …}]}`; `says` and `meaning` only where there
/// are any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule: a requirement of the specification (`OSB-SVC-01`) or one of [`RULES`](crate::RULES).
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Who minds.
    pub platform: Platform,
    /// Where: a JSON pointer (RFC 6901) into the catalog; empty for all of it.
    pub place: String,
    /// What is wrong: a fragment whose subject is the place. Secrets are not quoted.
    pub what: String,
    /// How to mend it.
    pub mend: String,
    /// What Cloud Foundry, or else the platform that minds, says to its operator, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// Of a change: what it means for instances that exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meaning: Vec<Meaning>,
}

/// What a change means on one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Meaning {
    /// Where; [`Platform::Specification`] is everywhere.
    pub platform: Platform,
    /// What.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "/" } else { &self.place };
        write!(f, "{place} {}; {}", self.what, self.mend)
    }
}

impl Finding {
    pub(crate) fn new(
        (rule, severity, platform): (&'static str, Severity, Platform),
        place: &Place,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            severity,
            platform,
            place: place.to_string(),
            what: what.into(),
            mend: mend.into(),
            says: None,
            meaning: Vec::new(),
        }
    }

    /// In the platform's own words.
    pub(crate) fn says(mut self, words: impl Into<String>) -> Self {
        self.says = Some(words.into());
        self
    }

    /// What it means for instances that exist.
    pub(crate) fn means(mut self, platform: Platform, text: impl Into<String>) -> Self {
        self.meaning.push(Meaning {
            platform,
            text: text.into(),
        });
        self
    }
}
