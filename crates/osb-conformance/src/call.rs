//! A request in the making: everything can be left out or be wrong.

use http::Method;
use serde_json::Value;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Catalog,
    Provision,
    FetchInstance,
    Update,
    Deprovision,
    PollInstance,
    Bind,
    FetchBinding,
    Unbind,
    PollBinding,
    /// No route of the specification.
    Other,
}

/// The login of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    Agreed,
    Absent,
    Value(String),
}

/// A header that every request has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Usual {
    AsConfigured,
    Absent,
    Value(String),
}

/// How names of headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Casing {
    Lower,
    Title,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) op: Op,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) auth: Auth,
    pub(crate) version: Usual,
    pub(crate) request_identity: Usual,
    pub(crate) content_type: Option<String>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) casing: Casing,
    /// The instance that it is about, as far as its path is of this crate's making.
    pub(crate) instance: Option<String>,
    pub(crate) binding: Option<String>,
}

impl Call {
    pub(crate) fn new(op: Op, method: Method, path: String) -> Self {
        Self {
            op,
            method,
            path,
            query: Vec::new(),
            auth: Auth::Agreed,
            version: Usual::AsConfigured,
            request_identity: Usual::AsConfigured,
            content_type: None,
            headers: Vec::new(),
            body: None,
            casing: Casing::Lower,
            instance: None,
            binding: None,
        }
    }

    fn of_instance(op: Op, method: Method, id: &str, rest: &str) -> Self {
        let path = format!("/v2/service_instances/{}{rest}", encode(id));
        Self {
            instance: Some(id.to_owned()),
            ..Self::new(op, method, path)
        }
    }

    fn of_binding(op: Op, method: Method, id: &str, binding: &str, rest: &str) -> Self {
        let path = format!("/service_bindings/{}{rest}", encode(binding));
        Self {
            binding: Some(binding.to_owned()),
            ..Self::of_instance(op, method, id, &path)
        }
    }

    pub(crate) fn catalog() -> Self {
        Self::new(Op::Catalog, Method::GET, "/v2/catalog".to_owned())
    }

    pub(crate) fn provision(id: &str, body: &Value) -> Self {
        Self::of_instance(Op::Provision, Method::PUT, id, "").json(body)
    }

    pub(crate) fn update(id: &str, body: &Value) -> Self {
        Self::of_instance(Op::Update, Method::PATCH, id, "").json(body)
    }

    pub(crate) fn fetch_instance(id: &str) -> Self {
        Self::of_instance(Op::FetchInstance, Method::GET, id, "")
    }

    pub(crate) fn deprovision(id: &str, service: &str, plan: &str) -> Self {
        let call = Self::of_instance(Op::Deprovision, Method::DELETE, id, "");
        call.query("service_id", service).query("plan_id", plan)
    }

    pub(crate) fn poll_instance(id: &str) -> Self {
        Self::of_instance(Op::PollInstance, Method::GET, id, "/last_operation")
    }

    pub(crate) fn bind(id: &str, binding_id: &str, body: &Value) -> Self {
        Self::of_binding(Op::Bind, Method::PUT, id, binding_id, "").json(body)
    }

    pub(crate) fn fetch_binding(id: &str, binding_id: &str) -> Self {
        Self::of_binding(Op::FetchBinding, Method::GET, id, binding_id, "")
    }

    pub(crate) fn unbind(id: &str, binding_id: &str, service: &str, plan: &str) -> Self {
        let call = Self::of_binding(Op::Unbind, Method::DELETE, id, binding_id, "");
        call.query("service_id", service).query("plan_id", plan)
    }

    pub(crate) fn poll_binding(id: &str, binding_id: &str) -> Self {
        Self::of_binding(Op::PollBinding, Method::GET, id, binding_id, "/last_operation")
    }

    /// A poll of the operation that this was given out for.
    pub(crate) fn of_operation(self, operation: Option<&str>) -> Self {
        match operation {
            Some(operation) => self.query("operation", operation),
            None => self,
        }
    }

    pub(crate) fn accepting(self) -> Self {
        self.query("accepts_incomplete", "true")
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without_query(mut self, name: &str) -> Self {
        self.query.retain(|(other, _)| other != name);
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.bytes(body.to_string().into_bytes())
    }

    /// Any bytes, said to be JSON.
    pub(crate) fn bytes(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self.content_type("application/json")
    }

    pub(crate) fn content_type(mut self, value: &str) -> Self {
        self.content_type = Some(value.to_owned());
        self
    }

    pub(crate) fn version(mut self, value: &str) -> Self {
        self.version = Usual::Value(value.to_owned());
        self
    }

    pub(crate) fn without_version(mut self) -> Self {
        self.version = Usual::Absent;
        self
    }

    pub(crate) fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Whether a 202 is allowed; `None` for another value than `true` and `false`.
    pub(crate) fn accepts(&self) -> Option<bool> {
        let value = self.query.iter().find(|(name, _)| name == "accepts_incomplete");
        match value.map(|(_, value)| value.as_str()) {
            Some("true") => Some(true),
            Some("false") | None => Some(false),
            Some(_) => None,
        }
    }

    /// Path and query, encoded.
    pub(crate) fn target(&self) -> String {
        let mut target = self.path.clone();
        for (position, (name, value)) in self.query.iter().enumerate() {
            target.push(if position == 0 { '?' } else { '&' });
            target.push_str(&format!("{}={}", encode(name), encode(value)));
        }
        target
    }
}

/// Everything but the unreserved characters, and the points of `.` and `..`, which would mean other paths.
pub(crate) fn encode(text: &str) -> String {
    let points = matches!(text, "." | "..");
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) && !points {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_encoded() {
        let call = Call::poll_binding("a/b", "..").of_operation(Some("x y+"));
        assert_eq!(
            call.target(),
            "/v2/service_instances/a%2Fb/service_bindings/%2E%2E/last_operation?operation=x%20y%2B"
        );
    }
}
