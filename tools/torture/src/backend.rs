//! The backend of the broker under torture: it is never killed, does what it is asked to, decides what goes wrong, and
//! writes everything down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use torture::{Begin, How, Reply, Request, Then, Verb};

use crate::journal::{Clock, Event, What};
use crate::random::Random;

/// A call that has been retried so often goes well from then on.
const MOST_TROUBLE: u32 = 3;

/// The connections of a killed process end at once; more time than that is a defect of this program.
const DRAINED_WITHIN: Duration = Duration::from_secs(20);

/// A stack for threads that do little.
const STACK_BYTES: usize = 256 << 10;

/// The backend. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Backend {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    calls: u64,
    /// Connections that were accepted and have not ended.
    serving: usize,
    open: HashMap<u64, Open>,
    /// What has been made: name and part, and its token.
    parts: BTreeMap<(String, String), String>,
    tokens: u64,
    /// Names whose parts were removed at least once.
    removed: HashSet<String>,
    /// For each key, how often something went wrong by our decision.
    trouble: HashMap<String, u32>,
    /// What was done once: when it comes again it must go well, as everything is there or gone already.
    settled: HashSet<String>,
    /// How often each function was asked for, by its ids: the seed and this decide what goes wrong.
    asked: HashMap<String, u64>,
}

struct Open {
    begin: Begin,
    stream: TcpStream,
}

impl Backend {
    pub(crate) fn start(clock: Clock, seed: u64) -> Result<Self> {
        Self::start_with(clock, seed, State::default())
    }

    /// A backend in which these events have happened, and whose calls of then have all ended.
    pub(crate) fn after(events: &[Event], clock: Clock, seed: u64) -> Result<Self> {
        Self::start_with(clock, seed, State::after(events))
    }

    fn start_with(clock: Clock, seed: u64, state: State) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("the backend cannot listen")?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            clock,
            seed,
            state: Mutex::new(state),
        });
        let backend = Self { addr, shared };
        let accepting = backend.clone();
        std::thread::Builder::new().name("backend".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                accepting.lock().serving += 1;
                let backend = accepting.clone();
                let serve = move || backend.serve(stream);
                if let Err(error) = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(serve) {
                    accepting.lock().serving -= 1;
                    eprintln!("the backend cannot start a thread: {error}");
                }
            }
        })?;
        Ok(backend)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until every call of a process that is dead has been seen to end.
    pub(crate) fn drain(&self) -> Result<()> {
        // The system has connections that were not accepted yet. They are accepted in their order: when this one is, all
        // of the dead process are.
        let mut last = TcpStream::connect(self.addr)?;
        last.set_read_timeout(Some(DRAINED_WITHIN))?;
        last.write_all(b"\n")?;
        last.read_to_end(&mut Vec::new())?;
        let deadline = Instant::now() + DRAINED_WITHIN;
        while self.lock().serving > 0 {
            if Instant::now() > deadline {
                bail!("connections of the killed broker stay open");
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// The calls that run now.
    pub(crate) fn running(&self) -> usize {
        self.lock().open.len()
    }

    /// What has been made and not removed.
    pub(crate) fn parts(&self) -> Vec<(String, String)> {
        self.lock().parts.keys().cloned().collect()
    }

    /// The token of a part.
    pub(crate) fn token(&self, name: &str, part: &str) -> Option<String> {
        self.lock().parts.get(&(name.to_owned(), part.to_owned())).cloned()
    }

    /// Whether a removal of this name was begun at any time: it may have failed half-way.
    pub(crate) fn was_removed(&self, name: &str) -> bool {
        self.lock().removed.contains(name)
    }

    /// Takes the journal: it is empty afterwards.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().events)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one call.
    fn serve(&self, stream: TcpStream) {
        // A connection that breaks is the end of its call.
        let call = self.serve_lines(stream);
        let mut state = self.lock();
        state.serving -= 1;
        if let Some(call) = call
            && state.open.remove(&call).is_some()
        {
            state.note(&self.shared.clock, call, What::Gone);
        }
    }

    /// The answer is the call that was open when the connection ended.
    fn serve_lines(&self, stream: TcpStream) -> Option<u64> {
        let mut writer = stream.try_clone().ok()?;
        writer.set_nodelay(true).ok()?;
        let mut call = None;
        for line in BufReader::new(&stream).lines() {
            let Some(request) = line.ok().and_then(|line| serde_json::from_str::<Request>(&line).ok()) else {
                break;
            };
            let reply = match request {
                Request::Begin(begin) => {
                    let (number, reply) = self.begin(*begin, stream.try_clone().ok()?);
                    call = Some(number);
                    reply
                }
                request => self.work(call?, request),
            };
            let Ok(mut text) = serde_json::to_vec(&reply) else {
                break;
            };
            text.push(b'\n');
            if writer.write_all(&text).is_err() {
                break;
            }
        }
        call
    }

    fn begin(&self, begin: Begin, stream: TcpStream) -> (u64, Reply) {
        self.note_what_has_gone(&begin);
        let mut state = self.lock();
        state.calls += 1;
        let call = state.calls;
        let mut reply = state.reply(self.shared.seed, &begin);
        reply.heeds = call.is_multiple_of(2);
        state.note(&self.shared.clock, call, What::Begin(Box::new(begin.clone())));
        state.open.insert(call, Open { begin, stream });
        (call, reply)
    }

    /// A call that the engine has dropped closed its connection before the next one of its instance began: its end
    /// lies in the socket, even when the thread that reads it has not run yet.
    fn note_what_has_gone(&self, begin: &Begin) {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let mut unread = false;
            let mut state = self.lock();
            let same = |open: &Begin| open.platform == begin.platform && open.instance == begin.instance;
            let others: Vec<u64> = state
                .open
                .iter()
                .filter(|(_, open)| same(&open.begin))
                .map(|(call, _)| *call)
                .collect();
            for call in others {
                match ended(&state.open[&call].stream) {
                    Ended::Yes => {
                        state.open.remove(&call);
                        state.note(&self.shared.clock, call, What::Gone);
                    }
                    Ended::Unread => unread = true,
                    Ended::No => {}
                }
            }
            drop(state);
            if !unread || Instant::now() > deadline {
                return;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn work(&self, call: u64, request: Request) -> Reply {
        let mut state = self.lock();
        let Some(begin) = state.open.get(&call).map(|open| open.begin.clone()) else {
            return Reply::default();
        };
        let mut reply = state.reply(self.shared.seed, &begin);
        let what = match request {
            Request::Begin(_) => return Reply::default(),
            Request::Step(part) => {
                reply.token = state.make(&begin.own_name, &part, true);
                What::Step(part, reply.token.clone())
            }
            Request::Make(part) => {
                reply.token = state.make(&begin.own_name, &part, false);
                What::Make(part, reply.token.clone())
            }
            Request::Remove => {
                state.parts.retain(|(name, _), _| *name != begin.own_name);
                state.removed.insert(begin.own_name.clone());
                What::Remove
            }
            Request::End(how, value) => {
                state.open.remove(&call);
                if how == How::Done {
                    state.settled.insert(task(&begin));
                }
                reply = Reply::default();
                What::End(how, value)
            }
        };
        state.note(&self.shared.clock, call, what);
        reply
    }
}

/// What a call is to do: the same after a crash, however often it was tried.
fn task(begin: &Begin) -> String {
    let verb = begin.verb.of_operation();
    match verb {
        // An instance is changed many times.
        Verb::Update => begin.key.clone(),
        _ => format!("{}/{verb:?}", begin.own_name),
    }
}

/// What a look at a connection finds.
enum Ended {
    Yes,
    /// Something is there that has not been read.
    Unread,
    No,
}

fn ended(stream: &TcpStream) -> Ended {
    let mut byte = [0u8; 1];
    match recv(stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Ended::Yes,
        Ok(_) => Ended::Unread,
        Err(Errno::AGAIN) => Ended::No,
        Err(_) => Ended::Yes,
    }
}

impl State {
    fn after(events: &[Event]) -> Self {
        let mut state = Self::default();
        let mut begins: HashMap<u64, &Begin> = HashMap::new();
        for event in events {
            if let What::Begin(begin) = &event.what {
                begins.insert(event.call, begin);
                state.calls = state.calls.max(event.call);
            }
            let Some(begin) = begins.get(&event.call) else { continue };
            let name = &begin.own_name;
            match &event.what {
                What::Begin(_) | What::Gone => {}
                What::Step(part, token) | What::Make(part, token) => {
                    state.tokens += 1;
                    state.parts.insert((name.clone(), part.clone()), token.clone());
                }
                What::Remove => {
                    state.parts.retain(|(of, _), _| of != name);
                    state.removed.insert(name.clone());
                }
                What::End(How::Done, _) => {
                    state.settled.insert(task(begin));
                }
                What::End(..) => {}
            }
        }
        state
    }

    fn note(&mut self, clock: &Clock, call: u64, what: What) {
        let at = clock.tick();
        self.events.push(Event { at, call, what });
    }

    /// Makes a part; `anew` gives it another token when it is there already.
    fn make(&mut self, name: &str, part: &str, anew: bool) -> String {
        self.tokens += 1;
        let token = format!("token-{}", self.tokens);
        let entry = self
            .parts
            .entry((name.to_owned(), part.to_owned()))
            .or_insert_with(|| token.clone());
        if anew {
            *entry = token;
        }
        entry.clone()
    }

    /// What is to happen next in a call.
    fn reply(&mut self, seed: u64, begin: &Begin) -> Reply {
        let ids = format!(
            "{}/{}/{:?}/{:?}",
            begin.platform, begin.instance, begin.binding, begin.verb
        );
        let count = self.asked.entry(ids.clone()).or_default();
        *count += 1;
        let mut random = Random::of(seed, (ids, *count));
        let pause = match random.below(100) {
            0..70 => random.micros_below(1_500),
            70..96 => random.micros_below(25_000),
            _ => random.micros_below(150_000),
        };
        let settled = self.settled.contains(&task(begin));
        let trouble = self.trouble.entry(begin.key.clone()).or_default();
        let then = match random.below(100) {
            _ if *trouble >= MOST_TROUBLE || settled => Then::Go,
            0..6 => Then::Retry,
            6..8 => Then::Fail,
            _ => Then::Go,
        };
        *trouble += u32::from(then != Then::Go);
        Reply {
            token: String::new(),
            pause_micros: u64::try_from(pause.as_micros()).unwrap_or_default(),
            then,
            heeds: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Call(BufReader<TcpStream>);

    impl Call {
        fn begin(backend: &Backend, verb: Verb) -> Self {
            let mut call = Self(BufReader::new(TcpStream::connect(backend.addr()).unwrap()));
            let begin = Begin {
                verb,
                key: format!("{verb:?}"),
                fence: 1,
                platform: "p".to_owned(),
                instance: "i".to_owned(),
                binding: None,
                instance_name: "i_1".to_owned(),
                own_name: "i_1".to_owned(),
                state: None,
                credentials: None,
                wanted: None,
                version: 1,
            };
            call.ask(&Request::Begin(Box::new(begin)));
            call
        }

        fn ask(&mut self, request: &Request) -> Reply {
            let line = serde_json::to_string(request).unwrap() + "\n";
            self.0.get_mut().write_all(line.as_bytes()).unwrap();
            let mut reply = String::new();
            self.0.read_line(&mut reply).unwrap();
            serde_json::from_str(&reply).unwrap()
        }
    }

    fn backend() -> Backend {
        Backend::start(Clock::default(), 1).unwrap()
    }

    #[test]
    fn a_call_that_was_dropped_ends_before_the_next_begins() {
        let backend = backend();
        for _ in 0..50 {
            drop(Call::begin(&backend, Verb::Provision));
            Call::begin(&backend, Verb::Deprovision).ask(&Request::End(How::Retry, None));
        }
        let events = backend.take_events();
        assert_eq!(crate::calls::check(&events, &[]), []);
        assert_eq!(
            events.iter().filter(|event| matches!(event.what, What::Gone)).count(),
            50
        );
    }

    #[test]
    fn calls_that_run_together_are_seen_together() {
        let backend = backend();
        let mut first = Call::begin(&backend, Verb::Provision);
        let mut second = Call::begin(&backend, Verb::Deprovision);
        first.ask(&Request::End(How::Done, None));
        second.ask(&Request::End(How::Done, None));
        let found = crate::calls::check(&backend.take_events(), &[]);
        assert!(
            found.iter().any(|violation| violation.text.contains("begins while")),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_made_stays_until_it_is_removed() {
        let backend = backend();
        let mut call = Call::begin(&backend, Verb::Provision);
        let first = call.ask(&Request::Step("a".to_owned())).token;
        let again = call.ask(&Request::Step("a".to_owned())).token;
        assert_ne!(first, again);
        let main = call.ask(&Request::Make("main".to_owned())).token;
        assert_eq!(call.ask(&Request::Make("main".to_owned())).token, main);
        assert_eq!(backend.token("i_1", "a"), Some(again));
        assert_eq!(backend.parts().len(), 2);
        call.ask(&Request::Remove);
        assert!(backend.parts().is_empty());
        drop(call);
        backend.drain().unwrap();
        assert_eq!(backend.running(), 0);
    }
}
