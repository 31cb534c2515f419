//! Any sequence of calls of two platforms that know nothing of each other and use equal ids, one after the other and
//! several at a time, with restarts of the broker in between, against the rules of OSB 2.17 in [`rules`].
//!
//! `OSB_MODEL_CASES` sets the number of cases, `OSB_MODEL_SEED` the seed of the first one; `cargo xtask long model` does so
//! and records the run.

mod calls;
mod rules;
mod send;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use osb_api::answer::State;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestError, TestRunner};
use testparts::long_run::{count, number};

use self::calls::{Answer, Asked, BIND_WISHES, BINDINGS, Call, PLANS, UPDATE_WISHES, WISHES, Which};
use self::rules::Slot;
use self::send::send;
use crate::author::Journal;
use crate::homes::{Process, TestHome};
use crate::platform::Platform;

/// Ids that are names, and ids that cannot be one.
const INSTANCES: [&str; 3] = ["a", "crn:v1/ä b%2F:", "A.."];

const BINDING_IDS: [&str; BINDINGS] = ["a", "B/%2e"];

const PLATFORMS: [&str; 2] = ["one", "two"];

/// The seed when none is given.
const SEED: u64 = 20_170;

/// How long work may take until it must have come to its end.
const PATIENCE: Duration = Duration::from_secs(15);

/// An instance of a platform.
type Place = (usize, usize);

/// What a platform does; numbers choose from what the case or the moment offers.
#[derive(Clone, Debug)]
enum Act {
    Provision { choice: usize, accepts: bool },
    Update { choice: usize, wish: usize, accepts: bool },
    Deprovision { choice: usize, accepts: bool },
    Bind { binding: usize, plan: usize, choice: usize },
    Unbind { binding: usize, plan: usize, accepts: bool },
    Poll { binding: Option<usize>, which: Poll },
}

#[derive(Clone, Debug)]
enum Poll {
    Newest,
    /// One of the operations that were given out, counted from the newest.
    Given(usize),
    Unknown,
}

#[derive(Clone, Debug)]
enum Step {
    /// Calls that are sent at the same time.
    Calls(Vec<(Place, Act)>),
    /// What waits for this id goes on.
    Release(usize),
    /// The broker stops, and another one starts.
    Restart,
}

#[derive(Clone, Debug)]
struct Case {
    /// The requests that the platforms choose from, the usual one first.
    menu: Vec<Asked>,
    /// What binds choose from.
    bind_menu: Vec<usize>,
    steps: Vec<Step>,
}

impl Case {
    fn calls(&self) -> u64 {
        let calls = self.steps.iter().map(|step| match step {
            Step::Calls(calls) => calls.len() as u64,
            Step::Release(_) | Step::Restart => 0,
        });
        calls.sum()
    }
}

/// Mostly the usual one.
fn choice() -> impl Strategy<Value = usize> {
    prop_oneof![8 => Just(0usize), 2 => Just(1), 1 => Just(2)]
}

fn act() -> impl Strategy<Value = Act> {
    let polls = prop_oneof![
        Just(Poll::Newest),
        (0..6usize).prop_map(Poll::Given),
        Just(Poll::Unknown)
    ];
    prop_oneof![
        6 => (choice(), any::<bool>()).prop_map(|(choice, accepts)| Act::Provision { choice, accepts }),
        4 => (choice(), 0..UPDATE_WISHES.len(), any::<bool>())
            .prop_map(|(choice, wish, accepts)| Act::Update { choice, wish, accepts }),
        4 => (choice(), any::<bool>()).prop_map(|(choice, accepts)| Act::Deprovision { choice, accepts }),
        5 => (0..BINDINGS, choice(), choice()).prop_map(|(binding, plan, choice)| Act::Bind { binding, plan, choice }),
        3 => (0..BINDINGS, choice(), any::<bool>())
            .prop_map(|(binding, plan, accepts)| Act::Unbind { binding, plan, accepts }),
        4 => (proptest::option::weighted(0.4, 0..BINDINGS), polls).prop_map(|(binding, which)| Act::Poll { binding, which }),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    (
        0..PLATFORMS.len(),
        prop_oneof![6 => Just(0usize), 2 => Just(1), 1 => Just(2)],
    )
}

fn step() -> impl Strategy<Value = Step> {
    let one = (place(), act()).prop_map(|call| Step::Calls(vec![call]));
    let few = (place(), proptest::collection::vec(act(), 2..=3))
        .prop_map(|(place, acts)| Step::Calls(acts.into_iter().map(|act| (place, act)).collect()));
    let mixed = proptest::collection::vec((place(), act()), 2..=3).prop_map(Step::Calls);
    prop_oneof![
        12 => one,
        5 => few,
        3 => mixed,
        1 => (0..INSTANCES.len()).prop_map(Step::Release),
        1 => Just(Step::Restart),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let plan = prop_oneof![5 => Just(PLANS[0]), 5 => Just(PLANS[1]), 1 => Just(PLANS[2])];
    let asked = (plan, 0..WISHES.len()).prop_map(|(plan, wish)| Asked { plan, wish });
    // An invalid request is never the usual one.
    let menu = proptest::collection::vec(asked, 3).prop_map(|mut menu| {
        menu[0].wish %= WISHES.len() - 1;
        menu
    });
    let bind_menu = proptest::collection::vec(0..BIND_WISHES.len(), 3);
    (menu, bind_menu, proptest::collection::vec(step(), 1..=32)).prop_map(|(menu, bind_menu, steps)| Case {
        menu,
        bind_menu,
        steps,
    })
}

/// What depends on the speed of a home.
#[derive(Clone, Copy)]
struct Pace {
    /// A request that accepts a 202 gets one after that time.
    budget: Duration,
    /// What still waits after that time can only be waiting to be released.
    until_release: Duration,
}

/// What is known of an instance: the states that explain all answers, and the operations that were given out.
struct World {
    possible: HashSet<Slot>,
    given: Vec<(Option<usize>, String)>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            possible: HashSet::from([Slot::default()]),
            given: Vec::new(),
        }
    }
}

struct Play<'a> {
    home: &'a TestHome,
    pace: Pace,
    journal: Journal,
    process: Process,
    case: &'a Case,
    worlds: BTreeMap<Place, World>,
    /// Whose operation it is: no two objects share one.
    owners: HashMap<String, (Place, Option<usize>)>,
    /// What was sent and answered, for who reads of a failure.
    trace: Vec<String>,
}

impl<'a> Play<'a> {
    async fn begin(home: &'a TestHome, pace: Pace, case: &'a Case) -> Self {
        let journal = Journal::default();
        let process = start(home, pace, &journal).await;
        Self {
            home,
            pace,
            journal,
            process,
            case,
            worlds: BTreeMap::new(),
            owners: HashMap::new(),
            trace: Vec::new(),
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Calls(acts) => self.calls(acts).await,
            Step::Release(instance) => {
                self.trace.push(format!("release {instance}"));
                self.release(*instance).await
            }
            Step::Restart => {
                self.trace.push("restart".to_owned());
                self.process.engine.stop().await;
                self.process = start(self.home, self.pace, &self.journal).await;
                Ok(())
            }
        }
    }

    async fn calls(&mut self, acts: &[(Place, Act)]) -> Result<(), TestCaseError> {
        let calls: Vec<(Place, Call)> = acts
            .iter()
            .map(|(place, act)| (*place, self.call(*place, act)))
            .collect();
        let sent = calls.iter().cloned().map(|((platform, instance), call)| {
            let platform = self.platform(platform);
            tokio::spawn(async move { send(&platform, INSTANCES[instance], &call).await })
        });
        let mut answers = std::pin::pin!(futures::future::join_all(sent));
        let mut released = BTreeSet::new();
        let answers = tokio::select! {
            answers = &mut answers => answers,
            () = tokio::time::sleep(self.pace.until_release) => {
                released.extend(calls.iter().map(|((_, instance), _)| *instance));
                released.iter().for_each(|instance| self.journal.release(INSTANCES[*instance]));
                let answers = tokio::time::timeout(PATIENCE, answers).await;
                answers.map_err(|_| TestCaseError::fail(format!("never answered: {calls:?}")))?
            }
        };
        let mut by_place: BTreeMap<Place, Vec<(Call, Answer)>> = BTreeMap::new();
        for ((place, call), answer) in calls.into_iter().zip(answers) {
            let answer = answer.map_err(|_| TestCaseError::fail(format!("{call:?} panicked")))?;
            by_place.entry(place).or_default().push((call, answer));
        }
        for (place, sent) in by_place {
            self.explain(place, &sent, released.contains(&place.1))?;
        }
        for instance in released {
            self.settle(instance).await?;
        }
        Ok(())
    }

    fn call(&self, place: Place, act: &Act) -> Call {
        let plan = |choice: usize| self.case.menu[choice].plan;
        match *act {
            Act::Provision { choice, accepts } => Call::Provision {
                asked: self.case.menu[choice],
                accepts,
            },
            Act::Update { choice, wish, accepts } => Call::Update {
                change: Asked {
                    plan: plan(choice),
                    wish,
                },
                accepts,
            },
            Act::Deprovision { choice, accepts } => Call::Deprovision {
                plan: plan(choice),
                accepts,
            },
            Act::Bind {
                binding,
                plan: number,
                choice,
            } => Call::Bind {
                binding,
                asked: Asked {
                    plan: plan(number),
                    wish: self.case.bind_menu[choice],
                },
            },
            Act::Unbind {
                binding,
                plan: number,
                accepts,
            } => Call::Unbind {
                binding,
                plan: plan(number),
                accepts,
            },
            Act::Poll { binding, ref which } => {
                let which = match *which {
                    Poll::Newest => Which::Newest,
                    Poll::Unknown => Which::Unknown,
                    Poll::Given(number) => {
                        let given = self
                            .worlds
                            .get(&place)
                            .map(|world| world.given.as_slice())
                            .unwrap_or_default();
                        let mut of_object = given.iter().rev().filter(|(owner, _)| *owner == binding);
                        of_object
                            .nth(number)
                            .map_or(Which::Newest, |(_, id)| Which::Given(id.clone()))
                    }
                };
                Call::Poll { binding, which }
            }
        }
    }

    fn platform(&self, number: usize) -> Platform {
        let one = Platform::new(&self.process.engine);
        if number == 0 { one } else { one.other() }
    }

    /// The answers must fit to at least one of the states in which the broker can be.
    fn explain(&mut self, place: Place, sent: &[(Call, Answer)], open: bool) -> Result<(), TestCaseError> {
        self.trace
            .push(format!("{place:?} {} {sent:?}", if open { "released" } else { "sent" }));
        let world = self.worlds.entry(place).or_default();
        for (call, answer) in sent {
            let object = match call {
                Call::Bind { binding, .. } | Call::Unbind { binding, .. } => Some(*binding),
                Call::Poll { binding, .. } => *binding,
                Call::Provision { .. } | Call::Update { .. } | Call::Deprovision { .. } => None,
            };
            if let Answer::Accepted(id) = answer {
                let owner = *self.owners.entry(id.clone()).or_insert((place, object));
                prop_assert_eq!(owner, (place, object), "the operation {} of another object", id);
                if !world.given.contains(&(object, id.clone())) {
                    world.given.push((object, id.clone()));
                }
            }
        }
        let after = rules::explain(&world.possible, sent, open);
        prop_assert!(
            !after.is_empty(),
            "no order explains the last answers, after any of {:?}",
            world.possible
        );
        world.possible = after;
        Ok(())
    }

    /// Lets what waits for an id go on until nothing runs for it.
    async fn release(&mut self, instance: usize) -> Result<(), TestCaseError> {
        self.journal.release(INSTANCES[instance]);
        self.settle(instance).await
    }

    async fn settle(&mut self, instance: usize) -> Result<(), TestCaseError> {
        for number in 0..PLATFORMS.len() {
            let platform = self.platform(number);
            for binding in std::iter::once(None).chain(BINDING_IDS.into_iter().map(Some)) {
                let ended = tokio::time::timeout(PATIENCE, until_ended(&platform, INSTANCES[instance], binding)).await;
                let stuck = || TestCaseError::fail(format!("{number} {instance} {binding:?} stays in progress"));
                ended.map_err(|_| stuck())?;
            }
            let world = self.worlds.entry((number, instance)).or_default();
            world.possible = rules::settled(&world.possible);
        }
        self.journal.close(INSTANCES[instance]);
        Ok(())
    }

    /// What is stored and what is in the backend is what the answers said.
    async fn end(&mut self) -> Result<(), TestCaseError> {
        for instance in 0..INSTANCES.len() {
            self.release(instance).await?;
        }
        let idle = tokio::time::timeout(PATIENCE, self.process.engine.idle()).await;
        prop_assert!(idle.is_ok(), "something stays pending");
        let mut names = BTreeSet::new();
        for (number, platform) in PLATFORMS.into_iter().enumerate() {
            let stored = self.stored(platform, &mut names).await?;
            for (instance, id) in INSTANCES.into_iter().enumerate() {
                let found: Vec<Option<bool>> = std::iter::once(None)
                    .chain(BINDING_IDS.into_iter().map(Some))
                    .map(|binding| stored.get(&(id.to_owned(), binding.map(str::to_owned))).copied())
                    .collect();
                let world = self.worlds.remove(&(number, instance)).unwrap_or_default();
                let fits = world.possible.iter().any(|slot| slot.stored() == found);
                prop_assert!(
                    fits,
                    "{platform} {instance}: stored is {found:?}, possible are {:?}",
                    world.possible
                );
            }
        }
        prop_assert_eq!(self.journal.names(), names, "the backend");
        prop_assert_eq!(self.journal.overlaps(), 0, "calls of the author overlapped");
        self.process.engine.stop().await;
        Ok(())
    }

    /// The stored objects of a platform by their ids, and whether they are complete; what belongs to them in the
    /// backend is added to `names`.
    async fn stored(
        &self,
        platform: &str,
        names: &mut BTreeSet<String>,
    ) -> Result<BTreeMap<(String, Option<String>), bool>, TestCaseError> {
        let mut stored = BTreeMap::new();
        for (plural, prefix) in [("serviceinstances", "db"), ("servicebindings", "u")] {
            for object in self.home.all(plural, &self.home.namespace(platform)).await {
                let text = |field: &str| object["spec"][field].as_str().map(str::to_owned);
                let instance = text("instanceId").expect("an instance id");
                prop_assert!(object["record"]["operation"].is_null(), "busy: {object}");
                prop_assert!(object["metadata"]["deletionTimestamp"].is_null(), "not gone: {object}");
                names.insert(format!("{prefix}_{}", text("incarnation").expect("an incarnation")));
                stored.insert((instance, text("bindingId")), !object["record"]["outputs"].is_null());
            }
        }
        Ok(stored)
    }
}

async fn start(home: &TestHome, pace: Pace, journal: &Journal) -> Process {
    home.broker_with(journal, |mut config| {
        config.budget_incomplete = pace.budget;
        config.budget_complete = 4 * PATIENCE;
        config
    })
    .await
}

async fn until_ended(platform: &Platform, instance: &str, binding: Option<&str>) {
    loop {
        let polled = match binding {
            Some(binding) => platform.poll_binding(instance, binding, None).await,
            None => platform.poll(instance, None).await,
        };
        match polled {
            Ok(polled) if polled.body.state == State::InProgress => tokio::time::sleep(Duration::from_millis(5)).await,
            _ => return,
        }
    }
}

async fn play(home: &TestHome, pace: Pace, case: &Case) -> Result<(), TestCaseError> {
    let mut play = Play::begin(home, pace, case).await;
    let mut played = Ok(());
    for step in &case.steps {
        played = play.step(step).await;
        if played.is_err() {
            break;
        }
    }
    if played.is_ok() {
        played = play.end().await;
    }
    let trace = || play.trace.join("\n");
    played.map_err(|error| TestCaseError::fail(format!("{error}\n{}", trace())))
}

/// Plays `cases` cases on homes made by `home`; `skew` keeps tests from playing the same ones.
fn plays(cases: u64, skew: u64, pace: Pace, home: impl AsyncFn() -> Option<TestHome>) {
    let config = ProptestConfig {
        cases: u32::try_from(number("OSB_MODEL_CASES", cases)).expect("a small number"),
        rng_seed: RngSeed::Fixed(number("OSB_MODEL_SEED", SEED) + skew),
        source_file: Some(file!()),
        max_shrink_iters: 200,
        max_shrink_time: 30_000,
        ..ProptestConfig::default()
    };
    let played = TestRunner::new(config).run(&case(), |case| {
        // A runtime for each case: it ends whatever the case has left behind.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        let calls = case.calls();
        runtime.block_on(async {
            let Some(home) = home().await else { return Ok(()) };
            play(&home, pace, &case).await?;
            count("cases", 1);
            count("calls", calls);
            Ok(())
        })
    });
    match played {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("{reason}\nthe smallest case found:\n{case:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// OSB-BLK-02, OSB-BLK-04, OSB-BLK-05, OSB-ORP-01, OSB-PROV-10 to -15, OSB-BIND-09 to -18, OSB-UNB-03 to -08,
/// OSB-DEP-03 to -08, OSB-UPD-10 to -19
mod any_sequence_of_calls_gets_the_answers_of_the_specification {
    use super::*;

    const EMBEDDED: Pace = Pace {
        budget: Duration::from_millis(40),
        until_release: Duration::from_millis(80),
    };
    const KUBERNETES: Pace = Pace {
        budget: Duration::from_millis(150),
        until_release: Duration::from_millis(500),
    };

    #[test]
    fn embedded() {
        plays(40, 0, EMBEDDED, async || Some(TestHome::embedded().await));
    }

    #[test]
    fn embedded_with_other_seeds() {
        plays(40, 1, EMBEDDED, async || Some(TestHome::embedded().await));
    }

    #[test]
    fn kubernetes() {
        plays(6, 2, KUBERNETES, async || TestHome::kubernetes().await);
    }
}
