//! BrokerTemplateInstances: which bindings there are of which TemplateInstance, for people and for tools that know the broker in
//! Go.
//!
//! They are a projection of the broker's own ServiceInstances and ServiceBindings, and nothing but that: nobody reads them as
//! truth, and they own nothing. Each change of an instance, a binding or a projection has that one looked at, and a start has
//! all of them looked at; what is looked at is made so, whatever was there. That is done behind the requests and at a pace of
//! its own, so that no request waits for it.

mod decide;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, header};
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use template_controller::follow::{Scope, Seen, each, follow};
use template_controller::names::API_VERSION;
use template_controller::queue::{Key, Next, Pauses, Queue};
use template_controller::resources::{BrokerTemplateInstance, TemplateInstance};
use template_controller::{Served, segment};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::decide::{Bound, Deed, Made, Sold, decide, is_left_over, wanted};
use crate::cluster::{At, MANAGER};
use crate::shared::Shared;

/// On a ServiceBinding: the name of its ServiceInstance.
const INSTANCE_LABEL: &str = "osb.internal/instance";

/// Only the metadata of an object.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// How many bindings are read at a time.
const PAGE: u32 = 500;

/// So many are looked at in a second, after the first [`AT_ONCE`].
const PER_SECOND: u32 = 20;

/// So many are looked at without a pause.
const AT_ONCE: u32 = 50;

/// How often it is looked whether the broker's own kinds are served yet, at its very first start.
const NOT_YET: Duration = Duration::from_millis(200);

/// So long is waited after something could not be listed.
const NOT_LISTED: Duration = Duration::from_secs(5);

/// Keeps the BrokerTemplateInstances as they should be.
pub(crate) struct Projection {
    /// The API server with the broker's own objects.
    home: Client,
    /// Their group.
    group: String,
    shared: Arc<Shared>,
    served: Served,
    /// What changes now, by the name of the ServiceInstance, which is that of its projection.
    changed: Queue,
    /// What was there at the start: it can wait.
    found: Queue,
    /// The namespaces of the platforms.
    namespaces: Mutex<BTreeSet<String>>,
    /// Something may have gone without being seen: all are looked at again.
    missed: Notify,
    /// Whether the last look ended in an error: it is said once.
    is_troubled: AtomicBool,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default)]
    items: Vec<Bound>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageMeta {
    #[serde(rename = "continue")]
    next: String,
}

impl Projection {
    /// A projection of the objects of a broker's group in its home to the cluster with the templates.
    pub(crate) fn new(home: Client, group: String, shared: Arc<Shared>, served: Served) -> Self {
        let pauses = Pauses {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(300),
        };
        Self {
            home,
            group,
            shared,
            served,
            changed: Queue::new(pauses),
            found: Queue::new(pauses),
            namespaces: Mutex::default(),
            missed: Notify::new(),
            is_troubled: AtomicBool::new(false),
        }
    }

    /// Runs for as long as it is polled. It may end at any moment: the next one makes good what is missing.
    pub(crate) async fn run(self) {
        let is_first = AtomicBool::new(true);
        let tell = |seen: Seen, metadata: &ObjectMeta| self.add(seen, metadata.name.as_deref(), &is_first);
        let shown = shown();
        tokio::join!(
            self.follow_own("serviceinstances"),
            self.follow_own("servicebindings"),
            follow(self.shared.cluster.client(), &shown, &tell),
            self.look_for_missed(),
            self.work(),
        );
    }

    /// Whoever lists again after an interruption has not seen what went meanwhile: an instance whose projection is there, or a
    /// projection whose instance is.
    async fn look_for_missed(&self) {
        let tell = |seen: Seen, metadata: &ObjectMeta| {
            self.add(seen, metadata.name.as_deref(), &AtomicBool::new(true));
        };
        loop {
            self.missed.notified().await;
            let own = self.own("serviceinstances");
            while !(each(&self.home, &own, &tell).await && each(self.shared.cluster.client(), &shown(), &tell).await) {
                tokio::time::sleep(NOT_LISTED).await;
            }
        }
    }

    fn own(&self, plural: &str) -> Scope {
        Scope {
            path: format!("/apis/{}/v1/{plural}", self.group),
            label: None,
        }
    }

    async fn follow_own(&self, plural: &str) {
        let scope = self.own(plural);
        // The engine makes the kinds known when it starts, after the broker has been made.
        while self.is_not_served(&scope.path).await {
            tokio::time::sleep(NOT_YET).await;
        }
        let is_first = AtomicBool::new(true);
        let tell = |seen: Seen, metadata: &ObjectMeta| {
            if let Some(namespace) = &metadata.namespace {
                let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
                if !namespaces.contains(namespace) {
                    namespaces.insert(namespace.clone());
                }
            }
            let of = metadata.labels.as_ref().and_then(|labels| labels.get(INSTANCE_LABEL));
            self.add(seen, of.or(metadata.name.as_ref()).map(String::as_str), &is_first);
        };
        follow(&self.home, &scope, &tell).await;
    }

    async fn is_not_served(&self, path: &str) -> bool {
        let Ok(request) = Request::get(format!("{path}?limit=1")).body(Vec::new()) else {
            return false;
        };
        matches!(self.home.request_text(request).await, Err(kube::Error::Api(status)) if status.code == 404)
    }

    fn add(&self, seen: Seen, name: Option<&str>, is_first: &AtomicBool) {
        if seen == Seen::AllListed && !is_first.swap(false, Ordering::Relaxed) {
            self.missed.notify_one();
        }
        let Some(name) = name else { return };
        let key = Key {
            namespace: "".into(),
            name: name.into(),
        };
        match seen {
            Seen::Listed | Seen::AllListed => self.found.add(key),
            Seen::There | Seen::Gone => self.changed.add(key),
        }
    }

    async fn work(&self) {
        let mut pace = Pace::new(Instant::now());
        loop {
            let (queue, key) = tokio::select! {
                biased;
                key = self.changed.next() => (&self.changed, key),
                key = self.found.next() => (&self.found, key),
            };
            tokio::time::sleep_until(pace.next(Instant::now())).await;
            let next = match self.project(&key.name).await {
                Ok(()) => {
                    self.is_troubled.store(false, Ordering::Relaxed);
                    Next::Done
                }
                Err(error) => {
                    if !self.is_troubled.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, name = %key.name, "a BrokerTemplateInstance cannot be written; trying again");
                    }
                    Next::Retry
                }
            };
            queue.done(&key, next);
        }
    }

    /// Makes one as it should be.
    async fn project(&self, name: &str) -> Result<(), kube::Error> {
        let wanted = self.wanted(name).await?;
        let api: Api<BrokerTemplateInstance> = Api::all(self.shared.cluster.client().clone());
        let found = api.get_opt(name).await?;
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = match decide(found.as_ref(), wanted) {
            Deed::Nothing => Ok(()),
            Deed::Create(new) => api.create(&params, &new).await.map(|_| ()),
            Deed::Replace(new) => api.replace(name, &params, &new).await.map(|_| ()),
            Deed::RemoveIfLeftOver(what) => {
                let made = self.metadata_of::<TemplateInstance>(&what.at).await?;
                if !is_left_over(&what, made.as_ref()) {
                    return Ok(());
                }
                let exactly = DeleteParams {
                    preconditions: Some(Preconditions {
                        uid: what.uid,
                        resource_version: what.version,
                    }),
                    ..DeleteParams::default()
                };
                api.delete(name, &exactly).await.map(|_| ())
            }
        };
        match written {
            // Somebody else was faster, which is seen, and has it looked at again.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            written => written,
        }
    }

    /// What it should be. When instances of several platforms have the same name, that of the first platform is shown.
    async fn wanted(&self, name: &str) -> Result<Option<BrokerTemplateInstance>, kube::Error> {
        let namespaces: Vec<String> = {
            let known = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
            known.iter().cloned().collect()
        };
        for namespace in namespaces {
            let Some(sold) = self.sold(&namespace, name).await? else {
                continue;
            };
            let Ok(at) = self.shared.at(sold.spec.context.as_ref(), &sold.spec.instance_id) else {
                continue;
            };
            let Some(instance) = self.metadata_of::<TemplateInstance>(&at).await? else {
                continue;
            };
            let secret = self.metadata_of::<k8s_openapi::api::core::v1::Secret>(&at).await?;
            let made = Made {
                at,
                instance,
                secret_uid: secret.and_then(|metadata| metadata.uid),
            };
            let bound = self.bound(&namespace, name).await?;
            if let Some(wanted) = wanted(name, &sold, &bound, &made, self.served) {
                return Ok(Some(wanted));
            }
        }
        Ok(None)
    }

    async fn sold(&self, namespace: &str, name: &str) -> Result<Option<Sold>, kube::Error> {
        let (group, namespace, name) = (&self.group, segment(namespace), segment(name));
        let path = format!("/apis/{group}/v1/namespaces/{namespace}/serviceinstances/{name}");
        found(get(&self.home, &path, "application/json").await)
    }

    /// The bindings of an instance.
    async fn bound(&self, namespace: &str, name: &str) -> Result<Vec<Bound>, kube::Error> {
        let (group, namespace) = (&self.group, segment(namespace));
        let label = format!("{}%3D{}", INSTANCE_LABEL.replace('/', "%2F"), segment(name));
        let all = format!("/apis/{group}/v1/namespaces/{namespace}/servicebindings");
        let mut bindings = Vec::new();
        let mut next = String::new();
        loop {
            let path = format!("{all}?labelSelector={label}&limit={PAGE}{next}");
            let page: Page = get(&self.home, &path, "application/json").await?;
            bindings.extend(page.items);
            if page.metadata.next.is_empty() {
                return Ok(bindings);
            }
            let token = page.metadata.next;
            let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
            next = format!("&continue={token}");
        }
    }

    /// The metadata of an object in the cluster.
    async fn metadata_of<K>(&self, at: &At) -> Result<Option<ObjectMeta>, kube::Error>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let root = K::url_path(&(), Some(&at.namespace));
        let path = format!("{root}/{}", segment(&at.name));
        let read: Option<PartialObjectMeta<K>> = found(get(self.shared.cluster.client(), &path, METADATA).await)?;
        Ok(read.map(|object| object.metadata))
    }
}

/// Where the projections are.
fn shown() -> Scope {
    Scope {
        path: format!("/apis/{API_VERSION}/brokertemplateinstances"),
        label: None,
    }
}

async fn get<T: DeserializeOwned>(client: &Client, path: &str, accept: &str) -> Result<T, kube::Error> {
    let request = Request::get(path)
        .header(header::ACCEPT, accept)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// `None` for what is not there.
fn found<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        answer => answer.map(Some),
    }
}

/// When the next one may be looked at: whoever has waited may do some at once, but not more for having waited longer.
struct Pace {
    /// When it would be, had none ever been early.
    due: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { due: now }
    }

    fn next(&mut self, now: Instant) -> Instant {
        let gap = Duration::from_secs(1) / PER_SECOND;
        self.due = self.due.max(now);
        let early = self.due.checked_sub(gap * AT_ONCE);
        self.due += gap;
        early.map_or(now, |early| early.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_done_at_once_and_the_others_at_a_pace() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let first: Vec<Instant> = (0..=AT_ONCE).map(|_| pace.next(now)).collect();
        assert!(first.iter().all(|at| *at == now));
        let gap = Duration::from_secs(1) / PER_SECOND;
        assert_eq!([pace.next(now), pace.next(now)], [now + gap, now + gap * 2]);
        let later = now + Duration::from_secs(3600);
        assert!((0..=AT_ONCE).all(|_| pace.next(later) == later));
        assert_eq!(pace.next(later), later + gap);
    }
}
