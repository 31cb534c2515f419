//! The service behind all plans.

use std::time::{Duration, SystemTime};

use osb_sdk::{
    Binding, Change, Context, Device, DeviceType, Endpoint, InstanceMetadata, Object, Operation, Protocol, Result,
    Service, Undone, Updatable, VolumeMode, VolumeMount,
};
use serde::{Deserialize, Serialize};

use crate::order::{BindingOrder, Changes, FailAt, Order};
use crate::work::work;

/// The host of everything that it names: it cannot exist (RFC 2606).
const HOST: &str = "reference.invalid";

/// When bindings that can be rotated expire, if nothing else was ordered.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An instance: the order is all there is to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The name that it would have in a backend.
    pub name: String,
    /// What was ordered, with all changes since.
    pub order: Order,
    /// What the platform told last of where it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
}

/// What an application gets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Login {
    /// All of it in one.
    pub uri: String,
    /// The user, another one for each binding.
    pub username: String,
    /// The password, another one for each binding.
    pub password: String,
    /// The plan of the instance when it was bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// As ordered with the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The context of the instance when it was bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
}

/// What bindings carry, or instances have, beside credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gives {
    /// Nothing.
    #[default]
    Credentials,
    /// `syslog_drain_url`
    SyslogDrain,
    /// `route_service_url`
    RouteService,
    /// `volume_mounts`
    Volume,
    /// `endpoints`, and the instance a `dashboard_url`.
    Dashboard,
}

/// The service behind all plans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference(pub Gives);

impl Service for Reference {
    type Parameters = Order;
    type BindParameters = BindingOrder;
    type State = Instance;
    type Credentials = Login;

    async fn provision(&self, op: &Operation, order: Order) -> Result<Instance> {
        work(op, FailAt::Provision, order.seconds, &order).await?;
        Ok(Instance {
            name: op.stable_name("instance"),
            order,
            context: op.context().cloned(),
        })
    }

    async fn deprovision(&self, op: &Operation, instance: Option<Instance>) -> Result<()> {
        match instance {
            Some(Instance { order, .. }) => work(op, FailAt::Deprovision, order.removal_seconds, &order).await,
            None => Ok(()),
        }
    }

    async fn bind(&self, op: &Operation, instance: &Instance, order: BindingOrder) -> Result<Binding<Login>> {
        self.make_binding(op, FailAt::Bind, instance, &order).await
    }

    async fn rotate(
        &self,
        op: &Operation,
        instance: &Instance,
        _: Login,
        order: BindingOrder,
    ) -> Result<Binding<Login>> {
        self.make_binding(op, FailAt::Rotate, instance, &order).await
    }

    async fn unbind(&self, op: &Operation, instance: &Instance, _: Option<Login>) -> Result<()> {
        let order = &instance.order;
        work(op, FailAt::Unbind, order.removal_seconds, order).await
    }

    /// The label is ordered, so that a platform sees it change with an update.
    fn metadata(&self, op: &Operation, instance: &Instance) -> Option<InstanceMetadata> {
        let mut labels = Object::new();
        labels.insert(format!("{HOST}/plan"), op.plan().name.clone().into());
        if let Some(label) = instance.order.label.as_ref().filter(|label| is_label(label)) {
            labels.insert(format!("{HOST}/label"), label.as_str().into());
        }
        let mut attributes = Object::new();
        attributes.insert(format!("{HOST}/name"), instance.name.as_str().into());
        attributes.insert(format!("{HOST}/order"), serde_json::to_value(&instance.order).ok()?);
        Some(InstanceMetadata { labels, attributes })
    }

    /// Nothing that can be ordered is secret.
    fn shown_parameters(&self, parameters: Object) -> Option<Object> {
        Some(parameters)
    }

    fn shown_bind_parameters(&self, parameters: Object) -> Option<Object> {
        Some(parameters)
    }

    fn dashboard_url(&self, op: &Operation) -> Option<String> {
        let name = op.instance_name("instance");
        (self.0 == Gives::Dashboard).then(|| format!("https://{HOST}/dashboard/{}/{name}", op.plan().name))
    }
}

impl Updatable for Reference {
    type Update = Changes;

    async fn update(&self, op: &Operation, instance: Instance, change: Change<Changes>) -> Result<Instance> {
        if let Some(version) = &change.maintenance {
            op.progress(format!("Upgrading to {version}"));
        }
        let changes = change.parameters.unwrap_or_default();
        let seconds = changes.seconds;
        let order = changes.of(instance.order);
        work(op, FailAt::Update, seconds, &order).await?;
        Ok(Instance {
            name: instance.name,
            order,
            context: op.context().cloned(),
        })
    }

    /// What an update changes is only what it returns.
    async fn undo_update(&self, _: &Operation, _: Instance, _: Change<Changes>) -> Result<Undone> {
        Ok(Undone::Everything)
    }
}

impl Reference {
    async fn make_binding(
        &self,
        op: &Operation,
        what: FailAt,
        instance: &Instance,
        order: &BindingOrder,
    ) -> Result<Binding<Login>> {
        // A step: when the bind is tried again, the password is still the same.
        let password = op
            .step("password", async || Ok(uuid::Uuid::new_v4().simple().to_string()))
            .await?;
        work(op, what, order.seconds, &instance.order).await?;
        let binding = Binding::new(login(op, instance, password));
        Ok(self.with_extras(op, expiring(op, order, binding)))
    }

    fn with_extras(&self, op: &Operation, binding: Binding<Login>) -> Binding<Login> {
        let name = op.stable_name("binding");
        match self.0 {
            Gives::Credentials => binding,
            Gives::SyslogDrain => binding.syslog_drain_url(format!("syslog-tls://{HOST}:6514/{name}")),
            Gives::RouteService => binding.route_service_url(format!("https://{HOST}/route/{name}")),
            Gives::Volume => binding.volume_mounts(vec![volume(name)]),
            Gives::Dashboard => binding.endpoints(endpoints()),
        }
    }
}

/// Whether a text can be the value of a label, by the rules of Kubernetes.
fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let ends = |byte: Option<u8>| byte.is_some_and(plain);
    text.len() <= 63
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text
            .bytes()
            .all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

fn login(op: &Operation, instance: &Instance, password: String) -> Login {
    let username = op.stable_name("user");
    Login {
        uri: format!("reference://{username}:{password}@{HOST}/{}", instance.name),
        username,
        password,
        plan: Some(op.plan().name.clone()),
        label: instance.order.label.clone(),
        context: instance.context.clone(),
    }
}

/// Renewed is to be at three quarters of the time, so that there is some left to do it in.
fn expiring(op: &Operation, order: &BindingOrder, binding: Binding<Login>) -> Binding<Login> {
    let ordered = order.expires_in.map(|seconds| Duration::from_secs(seconds.into()));
    let Some(valid) = ordered.or_else(|| op.plan().binding_rotatable.then_some(DAY)) else {
        return binding;
    };
    let now = SystemTime::now();
    binding.expires_at(now + valid).renew_before(now + valid * 3 / 4)
}

fn volume(volume_id: String) -> VolumeMount {
    let mount_config = [("share".to_owned(), format!("nfs://{HOST}/volumes").into())];
    VolumeMount {
        driver: "nfsv3driver".to_owned(),
        container_dir: format!("/var/vcap/data/{volume_id}"),
        mode: VolumeMode::ReadWrite,
        device_type: DeviceType::Shared,
        device: Device {
            volume_id,
            mount_config: Some(mount_config.into_iter().collect()),
        },
    }
}

/// With a port, with a range, and of each protocol.
fn endpoints() -> Vec<Endpoint> {
    let endpoint = |host: &str, ports: &[&str], protocol| Endpoint {
        host: host.to_owned(),
        ports: ports.iter().map(|&port| port.to_owned()).collect(),
        protocol,
    };
    vec![
        endpoint(HOST, &["443", "9000-9010"], None),
        endpoint("192.0.2.1", &["5432"], Some(Protocol::Tcp)),
        endpoint("2001:db8::1", &["53"], Some(Protocol::All)),
    ]
}
