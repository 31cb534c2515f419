//! Follows the templates of the chosen namespaces, and keeps the catalog as they are.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, ListParams, ObjectMeta, WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use template_controller::resources::Template;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::offering::{Ids, Key, Mapped};
use crate::registry::{Change, Registry};

/// How many templates are read at a time.
const PAGE: u32 = 500;

/// So long is waited after the server has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// So long is waited before each watch.
const BETWEEN: Duration = Duration::from_millis(10);

/// The longest time of one watch, in seconds; below it proxies cut connections that say nothing.
const WATCH: u32 = 290;

/// At most so many changes go into the catalog together.
const TOGETHER: usize = 1024;

/// Whose templates are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Those of these namespaces.
    Named(BTreeSet<String>),
    /// Those of all namespaces whose labels fit, as for `kubectl get -l`.
    Selected(String),
}

/// Templates that are followed.
pub(crate) struct Following {
    client: Client,
    ids: Ids,
    registry: Arc<Registry>,
}

/// Tasks that end with this value.
#[derive(Default)]
struct Tasks(HashMap<String, JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.values().for_each(JoinHandle::abort);
    }
}

/// Something of a list.
pub(crate) enum Seen<T> {
    /// It is there, in the list that everything begins with.
    Listed(T),
    /// The list has ended: what was there before and was not in it is gone.
    AllListed,
    /// It has been made or changed.
    Changed(T),
    /// It has been deleted.
    Deleted(T),
}

impl Following {
    /// What is to be followed.
    pub(crate) fn new(client: Client, ids: Ids, registry: Arc<Registry>) -> Self {
        Self { client, ids, registry }
    }

    /// Reads all templates once.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub(crate) async fn load(&self, namespaces: &Namespaces) -> Result<(), kube::Error> {
        let mut changes = Vec::new();
        for namespace in self.chosen(namespaces).await? {
            let api: Api<Template> = Api::namespaced(self.client.clone(), &namespace);
            let (templates, _) = pages(&api).await?;
            changes.extend(templates.iter().map(|template| self.change(template)));
        }
        self.apply(changes).await;
        Ok(())
    }

    async fn chosen(&self, namespaces: &Namespaces) -> Result<BTreeSet<String>, kube::Error> {
        match namespaces {
            Namespaces::Named(names) => Ok(names.clone()),
            Namespaces::Selected(selector) => {
                let api: Api<Namespace> = Api::all(self.client.clone());
                let found = api.list(&ListParams::default().labels(selector)).await?;
                Ok(found
                    .items
                    .into_iter()
                    .filter_map(|namespace| namespace.metadata.name)
                    .collect())
            }
        }
    }

    /// Follows the templates for as long as it is polled.
    pub(crate) async fn run(self, namespaces: Namespaces) {
        let following = Arc::new(self);
        let (sender, receiver) = mpsc::channel(TOGETHER);
        let applied = following.clone().keep_up(receiver);
        let watched = async {
            match namespaces {
                Namespaces::Named(names) => {
                    let mut tasks = Tasks::default();
                    for name in names {
                        tasks.begin(&following, &sender, name);
                    }
                    std::future::pending::<()>().await;
                }
                Namespaces::Selected(selector) => following.follow_namespaces(&sender, &selector).await,
            }
        };
        tokio::join!(applied, watched);
    }

    /// Brings the catalog up to date as changes come, those that have come meanwhile together.
    async fn keep_up(self: Arc<Self>, mut receiver: mpsc::Receiver<Change>) {
        let mut changes = Vec::new();
        while receiver.recv_many(&mut changes, TOGETHER).await > 0 {
            self.apply(std::mem::take(&mut changes)).await;
        }
    }

    async fn apply(&self, changes: Vec<Change>) {
        let mut stale = self.registry.apply(changes);
        // Templates whose names change with those of others are few: they have to have the same name.
        for _ in 0..3 {
            let mut again = Vec::new();
            for key in std::mem::take(&mut stale) {
                let api: Api<Template> = Api::namespaced(self.client.clone(), &key.namespace);
                match api.get_opt(&key.name).await {
                    Ok(Some(template)) => again.push(self.change(&template)),
                    Ok(None) => again.push(Change::Gone(key)),
                    Err(error) => {
                        tracing::error!(template = %key, %error, "the template cannot be read: it is offered no more")
                    }
                }
            }
            if again.is_empty() {
                return;
            }
            stale = self.registry.apply(again);
        }
    }

    /// What the template is in the catalog.
    fn change(&self, template: &Template) -> Change {
        let key = Key {
            namespace: template.metadata.namespace.clone().unwrap_or_default(),
            name: template.metadata.name.clone().unwrap_or_default(),
        };
        let body = template.body();
        let read = body
            .as_ref()
            .map_err(Clone::clone)
            .and_then(template_controller::resources::Body::read);
        match read {
            Ok(template) => Change::There(Box::new(Mapped::of(&template, self.ids))),
            Err(error) => {
                tracing::error!(template = %key, %error, "the template cannot be offered");
                Change::Gone(key)
            }
        }
    }

    /// Follows one namespace for ever.
    async fn follow(self: Arc<Self>, namespace: String, sender: mpsc::Sender<Change>) {
        let api: Api<Template> = Api::namespaced(self.client.clone(), &namespace);
        let mut listed = BTreeSet::new();
        // What was there when the broker started may be gone by now.
        let mut before: BTreeSet<Key> = self.registry.keys(&namespace).into_iter().collect();
        let key = |template: &Template| Key {
            namespace: template.metadata.namespace.clone().unwrap_or_default(),
            name: template.metadata.name.clone().unwrap_or_default(),
        };
        let (events, mut seen) = mpsc::channel(TOGETHER);
        let source = tokio::spawn(watch_for_ever(api, WatchParams::default(), events));
        let _ends = Tasks(HashMap::from([(namespace, source)]));
        while let Some(event) = seen.recv().await {
            let changes = match event {
                Seen::Listed(template) => {
                    listed.insert(key(&template));
                    vec![self.change(&template)]
                }
                Seen::AllListed => {
                    let gone = before.difference(&listed).cloned().map(Change::Gone).collect();
                    before = std::mem::take(&mut listed);
                    gone
                }
                Seen::Changed(template) => {
                    before.insert(key(&template));
                    vec![self.change(&template)]
                }
                Seen::Deleted(template) => {
                    before.remove(&key(&template));
                    vec![Change::Gone(key(&template))]
                }
            };
            for change in changes {
                if sender.send(change).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Follows the namespaces that a selector chooses, and each of them.
    async fn follow_namespaces(self: &Arc<Self>, sender: &mpsc::Sender<Change>, selector: &str) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let (events, mut seen) = mpsc::channel(TOGETHER);
        let source = tokio::spawn(watch_for_ever(api, WatchParams::default().labels(selector), events));
        let _ends = Tasks(HashMap::from([(String::new(), source)]));
        let mut tasks = Tasks::default();
        let mut listed = BTreeSet::new();
        while let Some(event) = seen.recv().await {
            match event {
                Seen::Listed(namespace) => {
                    listed.extend(namespace.metadata.name.clone());
                    tasks.begin(self, sender, namespace.metadata.name.unwrap_or_default());
                }
                Seen::AllListed => {
                    let gone: Vec<String> = tasks.0.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                    for name in gone {
                        self.end(&mut tasks, sender, &name).await;
                    }
                    listed.clear();
                }
                Seen::Changed(namespace) => tasks.begin(self, sender, namespace.metadata.name.unwrap_or_default()),
                // Also one whose labels do not fit any more.
                Seen::Deleted(namespace) => {
                    self.end(&mut tasks, sender, &namespace.metadata.name.unwrap_or_default())
                        .await;
                }
            }
        }
    }

    /// Offers the templates of a namespace no more.
    async fn end(&self, tasks: &mut Tasks, sender: &mpsc::Sender<Change>, namespace: &str) {
        if let Some(task) = tasks.0.remove(namespace) {
            task.abort();
            // What it has seen comes before what is said now.
            let _ = task.await;
        }
        for key in self.registry.keys(namespace) {
            let _ = sender.send(Change::Gone(key)).await;
        }
    }
}

impl Tasks {
    fn begin(&mut self, following: &Arc<Following>, sender: &mpsc::Sender<Change>, namespace: String) {
        let begin = || tokio::spawn(following.clone().follow(namespace.clone(), sender.clone()));
        self.0.entry(namespace.clone()).or_insert_with(begin);
    }
}

/// All objects of a list, and the version to watch from.
async fn pages<K>(api: &Api<K>) -> Result<(Vec<K>, String), kube::Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut items = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok((items, page.metadata.resource_version.unwrap_or_default())),
        }
    }
}

/// Tells of everything in a list, again and again from the beginning when the server has forgotten where we were.
pub(crate) async fn watch_for_ever<K>(api: Api<K>, params: WatchParams, events: mpsc::Sender<Seen<K>>)
where
    K: Clone + DeserializeOwned + std::fmt::Debug + kube::Resource + Send,
{
    let params = params.timeout(WATCH);
    loop {
        if let Err(error) = list_and_watch(&api, &params, &events).await {
            tracing::warn!(%error, "the API server does not tell what there is; it is asked again");
        }
        if events.is_closed() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ends when the server has forgotten where we were, or nobody listens any more.
async fn list_and_watch<K>(
    api: &Api<K>,
    params: &WatchParams,
    events: &mpsc::Sender<Seen<K>>,
) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug + kube::Resource + Send,
{
    let mut list = ListParams::default().limit(PAGE);
    list.label_selector.clone_from(&params.label_selector);
    let mut version = loop {
        let page = api.list(&list).await?;
        for item in page.items {
            if events.send(Seen::Listed(item)).await.is_err() {
                return Ok(());
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => list = list.continue_token(&token),
            None => break page.metadata.resource_version.unwrap_or_default(),
        }
    };
    if events.send(Seen::AllListed).await.is_err() {
        return Ok(());
    }
    loop {
        // Whatever a server makes of a watch, it is not asked without a pause.
        tokio::time::sleep(BETWEEN).await;
        let mut watch = api.watch(params, &version).await?.boxed();
        while let Some(event) = watch.try_next().await? {
            let of = |metadata: &ObjectMeta| metadata.resource_version.clone().unwrap_or_default();
            let seen = match event {
                WatchEvent::Added(item) | WatchEvent::Modified(item) => {
                    version = of(item.meta());
                    Seen::Changed(item)
                }
                WatchEvent::Deleted(item) => {
                    version = of(item.meta());
                    Seen::Deleted(item)
                }
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                // It has forgotten our version, or something else is wrong: from the beginning.
                WatchEvent::Error(_) => return Ok(()),
            };
            if events.send(seen).await.is_err() {
                return Ok(());
            }
        }
    }
}
