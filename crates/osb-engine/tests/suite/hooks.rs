//! What an author's hooks refuse leaves nothing: no write, no call.

use std::sync::{Arc, Mutex};

use osb_api::answer::{Bound, Provisioned, Removed, Updated};
use osb_api::error::{BindError, DeprovisionError, Fault, FetchError, ProvisionError, UnbindError, UpdateError};
use osb_engine::{Action, ActionVerb, Authorize, Broker, Draft, DraftRequest, Refused};
use serde::Deserialize;
use serde_json::json;

use crate::author::{self, ASYNC, AUTO, Journal, SERVICE};
use crate::homes::{Process, TestHome};
use crate::on_each_home;
use crate::platform::Platform;

/// Lets everybody do everything but those verbs, and notes what it was asked.
#[derive(Clone, Default)]
struct Guard {
    refused: Arc<Mutex<Vec<ActionVerb>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Guard {
    fn refuse(&self, verbs: &[ActionVerb]) {
        *self.refused.lock().expect("no test panics here") = verbs.to_vec();
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("no test panics here"))
    }
}

impl Authorize for Guard {
    async fn authorize(&self, action: &Action<'_>) -> Result<(), Refused> {
        let user = action.user.as_ref().map_or("nobody", |user| user.name.as_str());
        let told = action
            .context
            .and_then(|context| context.0.get("instance_name"))
            .is_some();
        let line = format!(
            "{:?} {} {user} {}{} {}/{}{}",
            action.verb,
            action.platform.0,
            action.instance,
            action.binding.map(|id| format!("/{id}")).unwrap_or_default(),
            action.offering,
            action.plan,
            if told { " told" } else { "" },
        );
        self.asked.lock().expect("no test panics here").push(line);
        // As one that asks somebody else.
        tokio::task::yield_now().await;
        if self.refused.lock().expect("no test panics here").contains(&action.verb) {
            return Err(Refused::because("Not you."));
        }
        Ok(())
    }
}

const ALL: [ActionVerb; 7] = [
    ActionVerb::Provision,
    ActionVerb::Update,
    ActionVerb::Deprovision,
    ActionVerb::Bind,
    ActionVerb::Unbind,
    ActionVerb::FetchInstance,
    ActionVerb::FetchBinding,
];

fn forbidden() -> Fault {
    Fault::Forbidden("Not you.".to_owned())
}

#[derive(Deserialize)]
struct Sized {
    #[serde(default)]
    size: Option<u32>,
}

/// What the schema cannot say: no thirteen.
fn no_thirteen(draft: &Draft<'_>) -> Result<(), Refused> {
    let thirteen = match draft.request {
        DraftRequest::Bind(request) => request
            .parameters
            .as_ref()
            .is_some_and(|given| given.get("secret") == Some(&"13".into())),
        DraftRequest::Provision(_) | DraftRequest::Update(_) => draft.parameters::<Sized>()?.size == Some(13),
    };
    if thirteen {
        return Err(Refused::because("Not thirteen."));
    }
    Ok(())
}

async fn start(home: &TestHome, journal: &Journal, hook: impl FnOnce(Broker) -> Broker) -> Process {
    home.start(hook(author::broker(journal)), |config| config).await
}

on_each_home! {
    /// OSB-OID-01, OSB-PROF-08, OSB-ERR-07
    async fn what_is_not_allowed_is_neither_written_nor_called(home: TestHome) {
        let (journal, guard) = (Journal::default(), Guard::default());
        let process = start(&home, &journal, |broker| broker.authorize(guard.clone())).await;
        let platform = Platform::new(&process.engine).as_user(json!({"username": "duke"}));
        platform.provision("a", json!({})).await.expect("provisioned");
        platform.bind("a", "b", json!({})).await.expect("bound");
        process.engine.idle().await;
        process.faults.take_writes();
        let (lines, names) = (journal.lines().len(), journal.names());
        guard.asked();
        guard.refuse(&ALL);
        assert_eq!(platform.provision("new", json!({})).await, Err(ProvisionError::Fault(forbidden())));
        // A repeat is a request like any other.
        assert_eq!(platform.provision("a", json!({})).await, Err(ProvisionError::Fault(forbidden())));
        assert_eq!(platform.update("a", json!({"plan_id": ASYNC})).await, Err(UpdateError::Fault(forbidden())));
        assert_eq!(platform.bind("a", "c", json!({})).await, Err(BindError::Fault(forbidden())));
        assert_eq!(platform.rotate("a", "c", "b").await, Err(BindError::Fault(forbidden())));
        assert_eq!(platform.unbind("a", "b").await, Err(UnbindError::Fault(forbidden())));
        assert_eq!(platform.deprovision("a").await, Err(DeprovisionError::Fault(forbidden())));
        assert_eq!(platform.fetch("a").await.map(|_| ()), Err(FetchError::Fault(forbidden())));
        assert_eq!(platform.fetch_binding("a", "b").await.map(|_| ()), Err(FetchError::Fault(forbidden())));
        process.engine.idle().await;
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
        assert_eq!((journal.lines().len(), journal.names()), (lines, names));
        let of = |verb: &str, what: &str, plan: &str, told: &str| format!("{verb} one duke {what} {SERVICE}/{plan}{told}");
        let told = " told";
        assert_eq!(
            guard.asked(),
            [
                of("Provision", "new", AUTO, told),
                of("Provision", "a", AUTO, told),
                of("Update", "a", ASYNC, told),
                of("Bind", "a/c", AUTO, told),
                of("Bind", "a/c", AUTO, told),
                of("Unbind", "a/b", AUTO, ""),
                of("Deprovision", "a", AUTO, told),
                of("FetchInstance", "a", AUTO, told),
                of("FetchBinding", "a/b", AUTO, ""),
            ]
        );

        guard.refuse(&[]);
        assert!(matches!(platform.provision("a", json!({})).await, Ok(Provisioned::Exists(_))));
        assert!(matches!(platform.unbind("a", "b").await, Ok(Removed::Done)));
        assert!(matches!(platform.deprovision("a").await, Ok(Removed::Done)));
        assert!(journal.names().is_empty());
        // What is not there is nobody's secret.
        guard.refuse(&ALL);
        assert_eq!(platform.deprovision("a").await, Err(DeprovisionError::Gone));
        assert_eq!(platform.unbind("a", "b").await, Err(UnbindError::Gone));
        assert_eq!(platform.fetch("a").await.map(|_| ()), Err(FetchError::NotFound));
    }

    /// OSB-PROV-09, OSB-UPD-12, OSB-BIND-14, OSB-ERR-07
    async fn values_that_make_no_sense_are_neither_written_nor_used(home: TestHome) {
        let journal = Journal::default();
        let process = start(&home, &journal, |broker| broker.validate(no_thirteen)).await;
        let platform = Platform::new(&process.engine);
        let text = || "Not thirteen.".to_owned();
        assert_eq!(platform.provision("a", json!({"size": 13})).await, Err(ProvisionError::Invalid(text())));
        // The schema speaks first.
        let schema = platform.provision("a", json!({"size": 1000})).await;
        assert!(matches!(&schema, Err(ProvisionError::Invalid(said)) if *said != text()), "{schema:?}");
        process.engine.idle().await;
        assert_eq!(process.faults.take_writes().iter().filter(|write| write.contains("serviceinstances")).count(), 0);
        assert!(journal.lines().is_empty());
        platform.provision("a", json!({"size": 12})).await.expect("provisioned");
        process.engine.idle().await;
        process.faults.take_writes();
        let lines = journal.lines().len();
        let update = platform.update("a", json!({"parameters": {"size": 13}})).await;
        assert_eq!(update, Err(UpdateError::Invalid(text())));
        assert_eq!(platform.bind("a", "b", json!({"secret": "13"})).await, Err(BindError::Invalid(text())));
        // Other attributes for what is there stay a conflict, whatever a hook thinks of them.
        let other = platform.provision("a", json!({"size": 13})).await;
        assert!(matches!(other, Err(ProvisionError::Conflict(_))), "{other:?}");
        process.engine.idle().await;
        assert_eq!(process.faults.take_writes(), Vec::<String>::new());
        assert_eq!(journal.lines().len(), lines);
        assert!(matches!(platform.update("a", json!({"parameters": {"size": 14}})).await, Ok(Updated::Done(_))));
        assert!(matches!(platform.bind("a", "b", json!({})).await, Ok(Bound::Created(_))));
    }

    /// A hook that does not know sends the platform away for now, and a repeat of what is there has its answer all the same.
    async fn a_hook_that_cannot_decide_changes_nothing(home: TestHome) {
        let (journal, undecided) = (Journal::default(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let told = undecided.clone();
        let hook = move |_: &Draft<'_>| {
            if told.load(std::sync::atomic::Ordering::SeqCst) { Err(Refused::undecided()) } else { Ok(()) }
        };
        let process = start(&home, &journal, |broker| broker.validate(hook)).await;
        let platform = Platform::new(&process.engine);
        platform.provision("a", json!({})).await.expect("provisioned");
        undecided.store(true, std::sync::atomic::Ordering::SeqCst);
        let answer = platform.provision("b", json!({})).await;
        assert!(matches!(answer, Err(ProvisionError::Fault(Fault::Unavailable(_)))), "{answer:?}");
        assert!(matches!(platform.provision("a", json!({})).await, Ok(Provisioned::Exists(_))));
        assert!(journal.keys("provision", "b").is_empty());
    }
}
