//! The broker's program, killed with SIGKILL in the middle of its work and started again on the same folder.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use osb_api::answer::{BindingBody, State};
use osb_api::id::{BindingId, InstanceId, OfferingId, PlanId};
use osb_api::request::{BindRequest, Incomplete, MissingOrganization, PollQuery, ProvisionRequest, RemovalQuery};
use osb_client::{Client, Error, Options, Reply};
use postgres_broker::Login;
use serde_json::{Value, json};
use testparts::{Postgres, need};

use crate::platform::{Operator, connect};
use crate::proxy::{Fault, Proxy};

const USER: &str = "platform";
const PASSWORD: &str = "of-the-platform";
/// How often something is looked at, at most, 10 ms apart.
const LOOKS: usize = 6_000;
/// More messages than any call sends to the database server.
const MOST_MESSAGES: usize = 60;
const RANDOM_ROUNDS: usize = 8;

/// The running program; killed when dropped.
struct Program {
    child: Child,
    url: String,
}

impl Program {
    async fn start(folder: &Path, postgres_url: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_postgres-broker"))
            .args(["--listen", "127.0.0.1:0", "--kube-listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder)
            .env("POSTGRES_URL", postgres_url)
            .env("OSB_USERNAME", USER)
            .env("OSB_PASSWORD", PASSWORD)
            .env("OSB_LOG", "error")
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        for _ in 0..LOOKS {
            if let Some(url) = url_of(folder, child.id()) {
                return Self { child, url };
            }
            assert_eq!(child.try_wait().expect("its state"), None, "the program has ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the program is not ready in time");
    }

    fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where the process listens, once it says so; the file may still be that of a process before it.
fn url_of(folder: &Path, pid: u32) -> Option<String> {
    let server: Value = serde_json::from_slice(&std::fs::read(folder.join("server")).ok()?).ok()?;
    (server["pid"] == pid).then(|| server["url"].as_str().map(str::to_owned))?
}

/// A platform that asks again until it has an answer.
#[derive(Clone)]
struct Platform {
    client: Client,
    service: OfferingId,
    plan: PlanId,
}

impl Platform {
    async fn of(program: &Program) -> Self {
        let client = Client::new(&Options::new(&program.url, USER, PASSWORD)).expect("a client");
        let catalog = client.catalog().await.expect("a catalog");
        let offering = &catalog.services[0];
        let service = OfferingId::new(&*offering.id).expect("an id");
        Self {
            service,
            plan: PlanId::new(&*offering.plans[0].id).expect("an id"),
            client,
        }
    }

    async fn provision(&self, id: &str) -> Result<(), Error> {
        let body = json!({
            "service_id": self.service.as_str(), "plan_id": self.plan.as_str(),
            "organization_guid": "o", "space_guid": "s", "parameters": {"extensions": ["citext"]},
        });
        let request = ProvisionRequest::from_json(body.to_string().as_bytes(), MissingOrganization::Refuse);
        let (id, request) = (InstanceId::new(id).expect("an id"), request.expect("a request"));
        let Reply::Accepted { operation, .. } = self.client.provision(&id, &request, Incomplete::Accepted).await?
        else {
            return Ok(());
        };
        let query = PollQuery {
            operation,
            ..PollQuery::default()
        };
        for _ in 0..LOOKS {
            match self.client.instance_last_operation(&id, &query).await?.body.state {
                State::InProgress => tokio::time::sleep(Duration::from_millis(10)).await,
                State::Succeeded => return Ok(()),
                State::Failed => panic!("the provision has failed"),
            }
        }
        panic!("the provision does not end");
    }

    async fn bind(&self, id: &str) -> Result<Login, Error> {
        let body = json!({"service_id": self.service.as_str(), "plan_id": self.plan.as_str()});
        let request = BindRequest::from_json(body.to_string().as_bytes()).expect("a request");
        let (instance, binding) = ids(id);
        match self
            .client
            .bind(&instance, &binding, &request, Incomplete::Refused)
            .await?
        {
            Reply::Created(body) | Reply::Done(body) => Ok(login(body)),
            Reply::Accepted { .. } => panic!("accepted, although that was refused"),
        }
    }

    async fn unbind(&self, id: &str) -> Result<(), Error> {
        let (instance, binding) = ids(id);
        gone(
            self.client
                .unbind(&instance, &binding, &self.removal(), Incomplete::Refused)
                .await,
        )
    }

    async fn deprovision(&self, id: &str) -> Result<(), Error> {
        gone(
            self.client
                .deprovision(&ids(id).0, &self.removal(), Incomplete::Refused)
                .await,
        )
    }

    fn removal(&self) -> RemovalQuery {
        RemovalQuery {
            service_id: self.service.clone(),
            plan_id: self.plan.clone(),
        }
    }
}

fn ids(id: &str) -> (InstanceId, BindingId) {
    (InstanceId::new(id).expect("an id"), BindingId::new("b").expect("an id"))
}

fn login(body: BindingBody) -> Login {
    serde_json::from_value(Value::Object(body.credentials.expect("credentials"))).expect("a login")
}

/// 410 is as good: the answer of the call that did it was lost.
fn gone<T>(removed: Result<T, Error>) -> Result<(), Error> {
    match removed {
        Err(error) if error.status() != Some(410) => Err(error),
        _ => Ok(()),
    }
}

async fn works(login: &Login, postgres: &Postgres) {
    let uri = login
        .uri
        .replace(&format!(":{}/", login.port), &format!(":{}/", postgres.port()));
    let session = connect(&uri).await.expect("the login works");
    session
        .batch_execute("CREATE TABLE t (c citext); DROP TABLE t")
        .await
        .expect("the database works");
}

/// The folder of the program, the server with a wire that can hang, and the operator's view.
struct Scene {
    folder: tempfile::TempDir,
    postgres: Postgres,
    proxy: Proxy,
    operator: Operator,
}

impl Scene {
    async fn new() -> Option<Self> {
        let postgres = need(Postgres::start())?;
        let operator = Operator::impatient(&postgres).await;
        let proxy = Proxy::to(postgres.port()).await;
        Some(Self {
            folder: tempfile::tempdir().expect("a folder"),
            postgres,
            proxy,
            operator,
        })
    }

    async fn start(&self) -> Program {
        let url = self.proxy.url(&self.postgres.url(), self.postgres.port());
        Program::start(&self.folder.path().join("data"), &url).await
    }

    /// Kills the program when it has sent the `message`-th message of a call, whose answer it never sees, and starts it
    /// again; says whether the call sent that many.
    async fn kill_at<F>(&self, message: usize, program: Program, call: impl FnOnce(Platform) -> F) -> (Program, bool)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let platform = Platform::of(&program).await;
        self.proxy.arm(message, Fault::Hang);
        let call = tokio::spawn(call(platform));
        while !self.proxy.has_fired() && !call.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let hung = self.proxy.fired();
        program.kill();
        call.abort();
        (self.start().await, hung)
    }

    async fn assert_nothing_is_left(&self, when: &str) {
        let left = (self.operator.databases().await, self.operator.roles().await);
        assert_eq!(left, (vec![], vec![]), "{when}");
    }
}

/// What was accepted comes out, once; what was not is answered as if asked for the first time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_message_to_the_server_it_ends_with_one_database_and_one_login() {
    let Some(scene) = Scene::new().await else { return };
    let mut program = scene.start().await;
    // Which of the calls still sends that many messages.
    let mut hung = [true; 3];
    for message in 1..=MOST_MESSAGES {
        let (id, when) = (format!("i{message}"), format!("killed at message {message}"));
        let (instance, binding, other) = (id.clone(), id.clone(), id.clone());
        if hung[0] {
            (program, hung[0]) = scene
                .kill_at(message, program, |p| async move { drop(p.provision(&instance).await) })
                .await;
        }
        Platform::of(&program).await.provision(&id).await.expect("provisioned");
        assert_eq!(scene.operator.databases().await.len(), 1, "{when}");

        if hung[1] {
            (program, hung[1]) = scene
                .kill_at(message, program, |p| async move { drop(p.bind(&binding).await) })
                .await;
        }
        let login = Platform::of(&program).await.bind(&id).await.expect("bound");
        assert_eq!(scene.operator.logins().await, [login.username.as_str()], "{when}");
        works(&login, &scene.postgres).await;

        Platform::of(&program).await.unbind(&id).await.expect("unbound");
        if hung[2] {
            (program, hung[2]) = scene
                .kill_at(message, program, |p| async move { drop(p.deprovision(&other).await) })
                .await;
        }
        Platform::of(&program)
            .await
            .deprovision(&id)
            .await
            .expect("deprovisioned");
        scene.assert_nothing_is_left(&when).await;
        scene.proxy.revive();
        if hung == [false; 3] {
            assert!(message > 10, "the calls sent only {message} messages");
            return;
        }
    }
    panic!("after {MOST_MESSAGES} messages there is no end yet");
}

/// A number below `below`, and the next state.
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// Kills the program at a random moment of a call, starts it again, and asks again.
async fn kill_during<F, T>(
    scene: &Scene,
    program: &mut Option<Program>,
    seed: &mut u64,
    call: impl Fn(Platform) -> F,
) -> T
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    T: Send + 'static,
{
    let running = program.take().expect("it runs");
    let begun = tokio::spawn(call(Platform::of(&running).await));
    tokio::time::sleep(Duration::from_millis(random(seed, 250))).await;
    running.kill();
    // Its outcome depends on the moment.
    drop(begun.await);
    let running = scene.start().await;
    let outcome = call(Platform::of(&running).await).await;
    *program = Some(running);
    outcome.unwrap_or_else(|error| panic!("asked again: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_ends_with_one_database_and_one_login() {
    let Some(scene) = Scene::new().await else { return };
    let given = std::env::var("OSB_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(0)).max(1);
    println!("OSB_SEED={seed}");
    let mut program = Some(scene.start().await);
    for round in 0..RANDOM_ROUNDS {
        let name = format!("i{round}");
        kill_during(&scene, &mut program, &mut seed, |p| {
            let id = name.clone();
            async move { p.provision(&id).await }
        })
        .await;
        assert_eq!(scene.operator.databases().await.len(), 1, "round {round}");
        let login: Login = kill_during(&scene, &mut program, &mut seed, |p| {
            let id = name.clone();
            async move { p.bind(&id).await }
        })
        .await;
        assert_eq!(
            scene.operator.logins().await,
            [login.username.as_str()],
            "round {round}"
        );
        works(&login, &scene.postgres).await;
        // The other ones go with their binding.
        if round % 2 == 0 {
            kill_during(&scene, &mut program, &mut seed, |p| {
                let id = name.clone();
                async move { p.unbind(&id).await }
            })
            .await;
            assert_eq!(scene.operator.logins().await, [] as [&str; 0], "round {round}");
        }
        kill_during(&scene, &mut program, &mut seed, |p| {
            let id = name.clone();
            async move { p.deprovision(&id).await }
        })
        .await;
        scene.assert_nothing_is_left(&format!("round {round}")).await;
    }
}
