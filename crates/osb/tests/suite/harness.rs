//! A server process on a folder of its own, and the client verbs as processes.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testparts::SmallDisk;

/// Longer than anything takes on a busy machine; only a broken program waits for it.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Looks until there is something.
pub(crate) fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", LIMIT.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The program without anything of the tester's environment.
pub(crate) fn osb() -> Command {
    clean(Command::new(PROGRAM))
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_osb");

fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OSB_") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("XDG_DATA_HOME")
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null());
    command
}

/// A temporary folder with the data of a broker, and beside it what its process prints.
pub(crate) struct Place {
    root: tempfile::TempDir,
    disk: Option<SmallDisk>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            disk: None,
        }
    }

    /// A place whose data lie on a disk of their own, and nothing else.
    pub(crate) fn on(disk: SmallDisk) -> Self {
        Self {
            disk: Some(disk),
            ..Self::new()
        }
    }

    pub(crate) fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("made with a disk")
    }

    /// The data folder, for this process and the client verbs.
    pub(crate) fn data(&self) -> PathBuf {
        let disk = self.disk.as_ref().map(SmallDisk::from_outside);
        disk.as_deref().unwrap_or_else(|| self.root.path()).join("data")
    }

    /// The data folder, as the server calls it.
    pub(crate) fn served_data(&self) -> PathBuf {
        self.disk
            .as_ref()
            .map_or_else(|| self.data(), |disk| disk.path().join("data"))
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.root.path().join("stdout")).unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("stderr")).unwrap_or_default()
    }

    /// `osb serve reference` on free ports.
    pub(crate) fn serve(&self, flags: &[&str]) -> Command {
        self.serve_broker("reference", flags)
    }

    /// `osb serve` on free ports.
    fn serve_broker(&self, broker: &str, flags: &[&str]) -> Command {
        let mut command = self.disk.as_ref().map_or_else(osb, |disk| clean(disk.command(PROGRAM)));
        command.args([
            "serve",
            broker,
            "--listen",
            "127.0.0.1:0",
            "--kube-listen",
            "127.0.0.1:0",
        ]);
        command.arg("--data-dir").arg(self.served_data()).args(flags);
        command
    }

    pub(crate) fn start(&self) -> Server<'_> {
        self.start_with(&[], &[])
    }

    pub(crate) fn start_with(&self, flags: &[&str], environment: &[(&str, &str)]) -> Server<'_> {
        self.start_broker("reference", flags, environment)
    }

    pub(crate) fn start_broker(&self, broker: &str, flags: &[&str], environment: &[(&str, &str)]) -> Server<'_> {
        let open = |name| {
            File::options()
                .create(true)
                .append(true)
                .open(self.root.path().join(name))
                .unwrap()
        };
        let mut command = self.serve_broker(broker, flags);
        command
            .envs(environment.iter().copied())
            .stdout(open("stdout"))
            .stderr(open("stderr"));
        let child = command.spawn().unwrap();
        let mut server = Server {
            _place: PhantomData,
            child,
            url: String::new(),
            password: String::new(),
        };
        let info = poll("the server is ready", || {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            // The file of a process that was killed stays behind.
            self.server_info().filter(|info| info["pid"] == server.child.id())
        });
        server.url = info["url"].as_str().unwrap().to_owned();
        let credentials = fs::read(self.data().join("credentials")).unwrap_or_default();
        let credentials: Value = serde_json::from_slice(&credentials).unwrap_or_default();
        server.password = credentials["users"][0]["password"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        server
    }

    /// What a server that must not start says. One that starts is ended, and fails the test.
    #[track_caller]
    pub(crate) fn refusal(&self, flags: &[&str]) -> Verb {
        self.refusal_of("reference", flags)
    }

    #[track_caller]
    pub(crate) fn refusal_of(&self, broker: &str, flags: &[&str]) -> Verb {
        let mut command = self.serve_broker(broker, flags);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        poll("the server ends", || {
            if self.server_info().is_some_and(|info| info["pid"] == child.id()) {
                child.kill().unwrap();
            }
            child.try_wait().unwrap()
        });
        Verb::of(flags, &child.wait_with_output().unwrap())
    }

    /// What a server has written of itself.
    fn server_info(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.data().join("server")).ok()?).ok()
    }

    /// A client verb; the data folder is all it is told.
    pub(crate) fn verb(&self, args: &[&str]) -> Verb {
        let output = osb().args(args).arg("--data-dir").arg(self.data()).output().unwrap();
        Verb::of(args, &output)
    }

    pub(crate) fn kubectl(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--kubeconfig")
            .arg(self.data().join("kubeconfig"))
            .env("HOME", self.root.path());
        command.env("KUBECACHEDIR", self.root.path().join("kube-cache"));
        command
    }
}

/// What came of a process.
#[derive(Debug)]
#[expect(dead_code, reason = "`what` is for messages")]
pub(crate) struct Verb {
    what: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Verb {
    pub(crate) fn of(args: &[&str], output: &Output) -> Self {
        Self {
            what: args.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// What was printed, if it ended well.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap()
    }

    /// What a server said last that did not start; before it may stand what it logged.
    #[track_caller]
    pub(crate) fn refuses(&self, code: i32) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        let start = self.stderr.find("\nerror: ").map_or(0, |end| end + 1);
        let said = &self.stderr[start..];
        assert!(said.starts_with("error: "), "{self:?}");
        said
    }

    /// What was said, if it ended with this code.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        &self.stderr
    }
}

/// A server process; killed when dropped.
pub(crate) struct Server<'a> {
    _place: PhantomData<&'a Place>,
    child: Child,
    url: String,
    pub(crate) password: String,
}

impl Server<'_> {
    pub(crate) fn address(&self) -> SocketAddr {
        self.url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        poll("the server ends", || child.try_wait().unwrap())
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait().code()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The bytes of a request with the right login and version.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Vec<u8> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let login = osb_api::base64::encode(format!("osb:{}", self.password).as_bytes());
        format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nX-Broker-API-Version: 2.17\r\nAuthorization: Basic {login}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// Sends bytes and gives all of the answer: status code and everything.
    pub(crate) fn exchange(&self, request: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        read_answer(&mut stream)
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        self.exchange(&self.request(method, path, body))
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything until the end; the status code is 0 when there is no answer.
pub(crate) fn read_answer(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    // A reset after the answer is fine: what was received is what counts.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_default();
    (code, answer)
}

/// A provision of the plan `fast`, as the client verb sends it.
pub(crate) fn order(parameters: &Value) -> Value {
    serde_json::json!({
        "service_id": reference_broker::OFFERING, "plan_id": reference_broker::FAST,
        "organization_guid": "osb-cli", "space_guid": "osb-cli", "parameters": parameters,
    })
}
