//! The calls of the API, and what a platform knows of the object that they are about.

use http::Method;
use osb_api::Object;
use osb_api::catalog::Requires;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Catalog,
    Provision,
    Update,
    Deprovision,
    PollInstance,
    FetchInstance,
    Bind,
    Unbind,
    PollBinding,
    FetchBinding,
    /// An extension of IBM Cloud: whether an instance is enabled.
    State,
    /// An extension of IBM Cloud: enables or disables an instance.
    SetState,
}

/// What a platform wants to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Provision,
    Update,
    Deprovision,
    Bind,
    Unbind,
}

impl Verb {
    /// The call that asks for it.
    pub(crate) fn call(self) -> Call {
        match self {
            Self::Provision => Call::Provision,
            Self::Update => Call::Update,
            Self::Deprovision => Call::Deprovision,
            Self::Bind => Call::Bind,
            Self::Unbind => Call::Unbind,
        }
    }

    /// The call that asks how far it is.
    pub(crate) fn poll(self) -> Call {
        if self.is_about_binding() {
            Call::PollBinding
        } else {
            Call::PollInstance
        }
    }

    /// The call that removes what it may have made.
    pub(crate) fn undo(self) -> Call {
        if self.is_about_binding() {
            Call::Unbind
        } else {
            Call::Deprovision
        }
    }

    /// Whether something is there afterwards that was not there before.
    pub(crate) fn creates(self) -> bool {
        matches!(self, Self::Provision | Self::Bind)
    }

    pub(crate) fn removes(self) -> bool {
        matches!(self, Self::Deprovision | Self::Unbind)
    }

    fn is_about_binding(self) -> bool {
        matches!(self, Self::Bind | Self::Unbind)
    }
}

impl Call {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Provision | Self::Bind | Self::SetState => Method::PUT,
            Self::Update => Method::PATCH,
            Self::Deprovision | Self::Unbind => Method::DELETE,
            Self::Catalog | Self::State => Method::GET,
            Self::PollInstance | Self::FetchInstance | Self::PollBinding | Self::FetchBinding => Method::GET,
        }
    }

    /// Whether the ids of offering and plan are in the query.
    fn has_ids_in_query(self) -> bool {
        matches!(
            self,
            Self::Deprovision | Self::Unbind | Self::FetchInstance | Self::FetchBinding
        ) || self.is_poll()
    }

    pub(crate) fn is_poll(self) -> bool {
        matches!(self, Self::PollInstance | Self::PollBinding)
    }
}

/// An instance or a binding as its platform knows it.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) instance: String,
    /// The name that the user gave to the instance.
    pub(crate) name: String,
    /// Not empty on calls that are about a binding.
    pub(crate) binding: String,
    /// The application that a binding is for; empty for a service key of Cloud Foundry.
    pub(crate) app: String,
    pub(crate) service: String,
    pub(crate) plan: String,
    /// The plan that an update changes to.
    pub(crate) new_plan: Option<String>,
    /// What the user gave with the instance; empty when nothing.
    pub(crate) parameters: Object,
    /// What the user gave with the binding.
    pub(crate) bind_parameters: Object,
    /// Whether it is to be enabled, for IBM Cloud.
    pub(crate) enabled: bool,
    /// The version in the catalog.
    pub(crate) maintenance: Option<String>,
    pub(crate) terms: Terms,
}

/// What the catalog says of the plan and a platform goes by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) requires: Vec<Requires>,
    pub(crate) bindings_retrievable: bool,
    pub(crate) instances_retrievable: bool,
    pub(crate) maximum_polling: Option<std::time::Duration>,
}

/// The path and query of a call; parameters in the order in which Go and Ruby sort them.
pub(crate) fn path(call: Call, order: &Order, operation: Option<&str>, incomplete: bool) -> String {
    if call == Call::Catalog {
        return "/v2/catalog".to_owned();
    }
    let version = if matches!(call, Call::State | Call::SetState) {
        "bluemix_v1"
    } else {
        "v2"
    };
    let mut path = format!("/{version}/service_instances/{}", encoded(&order.instance));
    if matches!(call, Call::Bind | Call::Unbind | Call::PollBinding | Call::FetchBinding) {
        path = format!("{path}/service_bindings/{}", encoded(&order.binding));
    }
    if call.is_poll() {
        path.push_str("/last_operation");
    }
    let ids = call.has_ids_in_query();
    let query = [
        ("accepts_incomplete", incomplete.then_some("true")),
        ("operation", operation.filter(|_| call.is_poll())),
        ("plan_id", ids.then_some(order.plan.as_str())),
        ("service_id", ids.then_some(order.service.as_str())),
    ];
    let mut separator = '?';
    for (name, value) in query {
        if let Some(value) = value {
            path = format!("{path}{separator}{name}={}", encoded(value));
            separator = '&';
        }
    }
    path
}

/// Percent-encoded, everything but the unreserved characters.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn order(instance: &str) -> Order {
        Order {
            instance: instance.to_owned(),
            name: "db".to_owned(),
            binding: "b".to_owned(),
            app: String::new(),
            service: "s".to_owned(),
            plan: "p/1".to_owned(),
            new_plan: None,
            parameters: Object::new(),
            bind_parameters: Object::new(),
            enabled: true,
            maintenance: None,
            terms: Terms::default(),
        }
    }

    /// OSB-URL-01, OSB-URL-03.
    #[test]
    fn ids_are_encoded_and_parameters_are_sorted() {
        let order = order("crn:v1:a/b::");
        assert_eq!(
            path(Call::PollBinding, &order, Some("x y"), false),
            "/v2/service_instances/crn%3Av1%3Aa%2Fb%3A%3A/service_bindings/b/last_operation\
             ?operation=x%20y&plan_id=p%2F1&service_id=s"
        );
        assert_eq!(
            path(Call::Deprovision, &order, Some("x"), true),
            "/v2/service_instances/crn%3Av1%3Aa%2Fb%3A%3A?accepts_incomplete=true&plan_id=p%2F1&service_id=s"
        );
        assert_eq!(
            path(Call::Bind, &order, None, false),
            "/v2/service_instances/crn%3Av1%3Aa%2Fb%3A%3A/service_bindings/b"
        );
    }
}
