//! A whole broker in a test: no port, no folder, no waiting.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use apiserver::{ApiServer, UserInfo};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use osb_api::id::InstanceId;
use osb_api::identity::{IDENTITY_HEADER, OriginatingIdentity};
use osb_engine::{Broker, Clock, Config, CustomKind, Engine, Fields, Home, Keys, Resources, Tenants};
use osb_server::{Platform, ResponseBody, Server};
use serde_json::{Value, json};

/// The first pause between two polls; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// An operation that has not ended after so many polls never will: it is a month then.
const POLLS: usize = 10_000;

const USER: &str = "test";
const PASSWORD: &str = "the password of the test broker";
const SYSTEM: &str = "osb-system";
const NAMESPACE: &str = "test";

/// A broker with everything that a real one has, in the process of a test: the front, the engine, a Kubernetes API in memory.
/// Requests go through the front as they would over the network, so a test sees what a platform sees.
///
/// In a test with tokio's paused clock (`#[tokio::test(start_paused = true)]`, feature `test-util` of tokio) time
/// jumps to the next thing that happens: retries over hours and deadlines of days take milliseconds.
///
/// ```
/// # use osb_engine::{Binding, Broker, NoParameters, Operation, Result, Service};
/// # struct Nothing;
/// # impl Service for Nothing {
/// #     type Parameters = NoParameters;
/// #     type BindParameters = NoParameters;
/// #     type State = String;
/// #     type Credentials = NoParameters;
/// #     async fn provision(&self, op: &Operation, _: NoParameters) -> Result<String> { Ok(op.stable_name("x")) }
/// #     async fn deprovision(&self, _: &Operation, _: Option<String>) -> Result<()> { Ok(()) }
/// #     async fn bind(&self, _: &Operation, _: &String, _: NoParameters) -> Result<Binding<NoParameters>> {
/// #         Ok(Binding::new(NoParameters {}))
/// #     }
/// #     async fn unbind(&self, _: &Operation, _: &String, _: Option<NoParameters>) -> Result<()> { Ok(()) }
/// # }
/// # fn my_broker() -> Broker {
/// #     let plan = osb_api::catalog::Plan::new("7a2f6f0e-8a7b-4a51-9a76-5f2a7d7f0a11", "small", "A plan");
/// #     let offering = osb_api::catalog::Offering::new("0f9d2f0c-3c4e-4c40-8f6a-0c1d5f7e2b33", "mail", "Mail");
/// #     Broker::new("mail").service(offering.bindable(true).plan(plan), Nothing)
/// # }
/// # use osb_host as osb_sdk;
/// use osb_sdk::TestBroker;
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut broker = TestBroker::start(my_broker).await;
/// assert_eq!(broker.provision("mine", "small", json!({})).await.status, 201);
/// let bound = broker.bind("mine", "app", json!({})).await;
/// assert_eq!((bound.status, bound.body["credentials"].is_object()), (201, true));
/// broker.restart().await;
/// assert_eq!(broker.bind("mine", "app", json!({})).await.status, 200);
/// assert_eq!(broker.deprovision("mine").await.status, 200);
/// # }
/// ```
pub struct TestBroker {
    make: Make,
    api: ApiServer,
    /// One for all processes: time goes on over a restart.
    clock: Clock,
    engine: Engine,
    front: Server<Engine>,
    /// Offering and plan by the plan's name.
    plans: HashMap<String, Named>,
    /// What each instance was last asked to be.
    instances: Mutex<HashMap<String, Named>>,
    user: Option<OriginatingIdentity>,
}

/// Makes the broker, given a client of its API server.
type Make = Box<dyn Fn(kube::Client) -> Pin<Box<dyn Future<Output = Broker> + Send>> + Send + Sync>;

/// The ids of an offering and of one of its plans.
#[derive(Clone, Debug)]
struct Named {
    service_id: String,
    plan_id: String,
}

/// What a platform got.
///
/// ```
/// # use osb_host as osb_sdk;
/// use osb_sdk::Reply;
/// use serde_json::json;
///
/// /// What a test of a broker may want to know of an answer.
/// fn refusal(reply: &Reply) -> Option<&str> {
///     if reply.status < 400 { None } else { reply.body["description"].as_str() }
/// }
/// let refused = Reply { status: 400, body: json!({"description": "`plan_id` is required"}) };
/// assert_eq!(refusal(&refused), Some("`plan_id` is required"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body; always a JSON object.
    pub body: Value,
}

impl TestBroker {
    /// Starts a broker; `make` is called once more for each [`restart`](Self::restart).
    ///
    /// # Panics
    /// When the broker's definition is wrong; the message says what to mend.
    pub async fn start(make: impl Fn() -> Broker + Send + Sync + 'static) -> Self {
        let make = move |_: kube::Client| -> Pin<Box<dyn Future<Output = Broker> + Send>> {
            Box::pin(std::future::ready(make()))
        };
        Self::begin(apiserver::Options::default(), Box::new(make)).await
    }

    /// As [`start`](Self::start), for a broker that works on the API server of its home: see
    /// [`Host::start_with`](crate::Host::start_with).
    ///
    /// ```
    /// # use osb_engine::Broker;
    /// # use osb_host as osb_sdk;
    /// use osb_sdk::TestBroker;
    ///
    /// async fn make(client: kube::Client) -> Broker {
    ///     // … offerings, with services that keep the client …
    ///     # let _ = client;
    ///     Broker::new("databases")
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let by_roles = |api: &mut apiserver::Options| api.authorization = apiserver::Authorization::Rbac;
    /// let broker = TestBroker::start_with(by_roles, make).await;
    /// assert!(broker.client().apiserver_version().await.is_ok());
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with<Fut>(
        configure: impl FnOnce(&mut apiserver::Options),
        make: impl Fn(kube::Client) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Broker> + Send + 'static,
    {
        let mut options = apiserver::Options::default();
        configure(&mut options);
        let make =
            move |client: kube::Client| -> Pin<Box<dyn Future<Output = Broker> + Send>> { Box::pin(make(client)) };
        Self::begin(options, Box::new(make)).await
    }

    async fn begin(options: apiserver::Options, make: Make) -> Self {
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        let api = ApiServer::open(store, options)
            .await
            .expect("an API server in memory starts");
        let first = make(client(&api)).await;
        let home = home(&api, &first);
        install(&home, &first).await;
        for namespace in [SYSTEM, NAMESPACE] {
            let made = home.ensure_namespace(namespace).await;
            made.expect("an empty API server takes a namespace");
        }
        let clock = Clock::virtual_from_now();
        let (engine, front) = process(&api, first, clock).await;
        let mut broker = Self {
            make,
            api,
            clock,
            engine,
            front,
            plans: HashMap::new(),
            instances: Mutex::default(),
            user: None,
        };
        broker.plans = broker.read_plans().await;
        broker
    }

    /// What a crash does: this process is forgotten in the middle of whatever it does, and a new one takes over its
    /// state.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn restart(&mut self) {
        let broker = (self.make)(client(&self.api)).await;
        install(&home(&self.api, &broker), &broker).await;
        let (engine, front) = process(&self.api, broker, self.clock).await;
        let old = std::mem::replace(&mut self.engine, engine);
        self.front = front;
        // Its writes are refused from now on; what its functions still do, they do as a process that lingers would.
        tokio::spawn(async move { old.stop().await });
        self.plans = self.read_plans().await;
    }

    /// Reads the catalog again, as a platform does when it is told of new plans.
    pub async fn reload_catalog(&mut self) {
        self.plans = self.read_plans().await;
    }

    /// Whom the platform names as its user from now on; at first nobody, as when a platform cleans up on its own
    /// (OSB-OID-01).
    pub fn set_user(&mut self, user: Option<OriginatingIdentity>) {
        self.user = user;
    }

    /// A `PUT` of an instance of the plan of that name; 202 is accepted.
    pub async fn provision(&self, instance: &str, plan: &str, parameters: Value) -> Reply {
        let named = self.plan(plan);
        self.instances().insert(instance.to_owned(), named.clone());
        let body = json!({
            "service_id": named.service_id, "plan_id": named.plan_id,
            "organization_guid": "test", "space_guid": "test",
            "context": {"platform": "test"}, "parameters": parameters,
        });
        let path = format!("/v2/service_instances/{instance}?accepts_incomplete=true");
        self.send(Method::PUT, &path, Some(body)).await
    }

    /// A `PATCH` of an instance: to the plan of that name, if there is one, with these parameters.
    pub async fn update(&self, instance: &str, plan: Option<&str>, parameters: Value) -> Reply {
        let before = self.of(instance);
        let plan_id = plan.map(|plan| self.plan(plan).plan_id);
        let mut body = json!({"service_id": before.service_id, "parameters": parameters});
        if let Some(plan_id) = &plan_id {
            body["plan_id"] = plan_id.as_str().into();
        }
        let path = format!("/v2/service_instances/{instance}?accepts_incomplete=true");
        let reply = self.send(Method::PATCH, &path, Some(body)).await;
        if let (Some(plan_id), 200 | 202) = (plan_id, reply.status) {
            let changed = Named { plan_id, ..before };
            self.instances().insert(instance.to_owned(), changed);
        }
        reply
    }

    /// A `DELETE` of an instance; 202 is accepted.
    pub async fn deprovision(&self, instance: &str) -> Reply {
        let path = format!("/v2/service_instances/{instance}?{}", self.removal(instance));
        self.send(Method::DELETE, &path, None).await
    }

    /// A `PUT` of a binding; 202 is accepted where bindings can be fetched.
    pub async fn bind(&self, instance: &str, binding: &str, parameters: Value) -> Reply {
        let named = self.of(instance);
        let body = json!({"service_id": named.service_id, "plan_id": named.plan_id, "parameters": parameters});
        self.put_binding(instance, binding, body).await
    }

    /// A `PUT` of a binding that takes the place of another one.
    pub async fn rotate(&self, instance: &str, binding: &str, predecessor: &str) -> Reply {
        let body = json!({"predecessor_binding_id": predecessor});
        self.put_binding(instance, binding, body).await
    }

    async fn put_binding(&self, instance: &str, binding: &str, body: Value) -> Reply {
        let path = format!("/v2/service_instances/{instance}/service_bindings/{binding}?accepts_incomplete=true");
        self.send(Method::PUT, &path, Some(body)).await
    }

    /// A `DELETE` of a binding; 202 is accepted.
    pub async fn unbind(&self, instance: &str, binding: &str) -> Reply {
        let query = self.removal(instance);
        let path = format!("/v2/service_instances/{instance}/service_bindings/{binding}?{query}");
        self.send(Method::DELETE, &path, None).await
    }

    /// Polls the newest operation of an instance until it has ended; the answer is that of the last poll.
    ///
    /// # Panics
    /// When it does not end within a month.
    pub async fn settled(&self, instance: &str) -> Reply {
        self.until_ended(&format!("/v2/service_instances/{instance}/last_operation"))
            .await
    }

    /// As [`settled`](Self::settled), of a binding.
    ///
    /// # Panics
    /// As [`settled`](Self::settled).
    pub async fn binding_settled(&self, instance: &str, binding: &str) -> Reply {
        let path = format!("/v2/service_instances/{instance}/service_bindings/{binding}/last_operation");
        self.until_ended(&path).await
    }

    async fn until_ended(&self, path: &str) -> Reply {
        let mut pause = FIRST_PAUSE;
        for _ in 0..POLLS {
            let reply = self.send(Method::GET, path, None).await;
            if reply.status != 200 || reply.body["state"] != "in progress" {
                return reply;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        panic!("{path}: the operation does not end");
    }

    /// Any request, with the credentials and the version header of a platform.
    ///
    /// # Panics
    /// When `path` is not the path and query of a URI.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, login())
            .header("X-Broker-API-Version", "2.17");
        if let Some(user) = &self.user {
            request = request.header(IDENTITY_HEADER, user.encode());
        }
        let request = request
            .body(Full::new(body.map_or_else(Bytes::new, |body| body.to_string().into())))
            .expect("a path and query");
        let (head, body) = self.front.handle(request).await.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        Reply {
            status: head.status.as_u16(),
            body: serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default(),
        }
    }

    /// The front of the broker as a tower service, for clients that bring whole requests, such as the simulated platforms
    /// of the crate `osb-simulate`. It adds the login. After a [`restart`](Self::restart) it is that of the old process.
    pub fn service(&self) -> TestService {
        TestService {
            front: self.front.clone(),
        }
    }

    /// A client of the broker's API server that may do everything.
    pub fn client(&self) -> kube::Client {
        client(&self.api)
    }

    /// What is in the backend and belongs to no instance and no binding any more.
    ///
    /// # Panics
    /// When a service cannot say what is in its backend.
    pub async fn orphans(&self) -> Vec<String> {
        let found = self.engine.orphans().await;
        let names = found.expect("the services list their backends");
        names.into_iter().map(|orphan| orphan.name).collect()
    }

    /// The author's fields of an instance, as `kubectl` shows them under `ext`; `None` when there are none or they
    /// have another form.
    ///
    /// # Panics
    /// When `instance` is no valid id.
    pub async fn fields<F: Fields>(&self, instance: &str) -> Option<F> {
        let id = InstanceId::new(instance).expect("the id of an instance");
        let fields = self.engine.fields(&Platform(NAMESPACE.into()), &id).await;
        fields.expect("an API server in memory answers")
    }

    /// The objects of a kind of the author's own, as `kubectl` and the author's code see them.
    ///
    /// # Panics
    /// When the broker does not declare that kind.
    pub fn resources<K: CustomKind>(&self) -> Resources<K> {
        let resources = self.engine.resources(&Platform(NAMESPACE.into()));
        resources.expect("a kind of the broker")
    }

    async fn read_plans(&self) -> HashMap<String, Named> {
        let catalog = self.send(Method::GET, "/v2/catalog", None).await.body;
        let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let mut plans = HashMap::new();
        for service in list(&catalog, "services") {
            for plan in list(&service, "plans") {
                let named = Named {
                    service_id: text(&service, "id"),
                    plan_id: text(&plan, "id"),
                };
                plans.insert(
                    format!("{}/{}", text(&service, "name"), text(&plan, "name")),
                    named.clone(),
                );
                plans.entry(text(&plan, "name")).or_insert(named);
            }
        }
        plans
    }

    /// The plan of that name, or of `service/plan`.
    fn plan(&self, name: &str) -> Named {
        let found = self.plans.get(name).cloned();
        found.unwrap_or_else(|| panic!("the catalog has no plan {name:?}; it has {:?}", self.plans.keys()))
    }

    fn of(&self, instance: &str) -> Named {
        let found = self.instances().get(instance).cloned();
        found.unwrap_or_else(|| panic!("nobody has provisioned {instance:?} in this test"))
    }

    fn removal(&self, instance: &str) -> String {
        let Named { service_id, plan_id } = self.of(instance);
        format!("service_id={service_id}&plan_id={plan_id}&accepts_incomplete=true")
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<String, Named>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client(api: &ApiServer) -> kube::Client {
    kube::Client::new(api.service_as(UserInfo::admin()), "default")
}

fn home(api: &ApiServer, broker: &Broker) -> Home {
    Home::in_process(api.service_as(UserInfo::admin()).untracked(), &broker.group())
}

/// The front of a [`TestBroker`], which every request enters as that of its one platform.
///
/// ```
/// # use osb_host as osb_sdk;
/// use osb_sdk::TestService;
///
/// /// What a client takes that is made for tower services.
/// fn connected<S: tower_service::Service<http::Request<http_body_util::Full<bytes::Bytes>>> + Clone>(service: S) -> S {
///     service
/// }
/// # let _: fn(TestService) -> TestService = connected;
/// ```
#[derive(Clone)]
pub struct TestService {
    front: Server<Engine>,
}

impl tower_service::Service<Request<Full<Bytes>>> for TestService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Full<Bytes>>) -> Self::Future {
        request.headers_mut().insert(header::AUTHORIZATION, login());
        let front = self.front.clone();
        Box::pin(async move { Ok(front.handle(request).await) })
    }
}

fn login() -> HeaderValue {
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    HeaderValue::try_from(format!("Basic {credentials}")).expect("Base64 and a space can stand in a header")
}

async fn install(home: &Home, broker: &Broker) {
    if let Err(error) = home.install_for(broker).await {
        panic!("{error}");
    }
}

async fn process(api: &ApiServer, broker: Broker, clock: Clock) -> (Engine, Server<Engine>) {
    let platform = Platform(NAMESPACE.into());
    let config = Config {
        system_namespace: SYSTEM.to_owned(),
        tenants: Tenants::new([(platform.clone(), NAMESPACE.to_owned())]),
        clock,
        ..Config::default()
    };
    let home = home(api, &broker);
    let engine = match Engine::start(broker, home, Keys::new([7; 32], []), config).await {
        Ok(engine) => engine,
        Err(error) => panic!("{error}"),
    };
    let mut config = osb_server::Config::default().user(USER, PASSWORD, platform);
    // IBM Cloud is among the platforms that a test may simulate, as behind `--organization-optional`.
    config.missing_organization = osb_api::request::MissingOrganization::FromContext;
    let front = Server::new(std::sync::Arc::new(engine.clone()), &config);
    (engine, front.expect("the settings of a test work"))
}
