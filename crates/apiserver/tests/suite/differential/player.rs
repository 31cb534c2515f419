//! Plays a script on one server.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::super::support::{Answer, Events, TestServer};
use super::script::{JSON, Template, collection_path, own_group};

/// The object that ends a watch; it has what every selector of a watched script selects.
const END: &str = "zz-end";
/// How long an answer may take: longer than the wait for a revision of the future.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request of a script and what it was answered with.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) template: Template,
    pub(crate) code: u16,
    pub(crate) content_type: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Json(Value),
    Text(String),
    /// Of a watch, without bookmarks.
    Events(Vec<Value>),
}

/// A script on its way on a server.
pub(crate) struct Player<'s> {
    server: &'s TestServer,
    known: BTreeMap<String, Known>,
    list: String,
    token: String,
    /// Position in the script and resolved path of the watches to come.
    watches: Vec<(Template, String)>,
}

/// What answers have shown of an object.
struct Known {
    first: String,
    last: String,
    uid: String,
}

impl<'s> Player<'s> {
    pub(crate) fn new(server: &'s TestServer) -> Player<'s> {
        Player {
            server,
            known: BTreeMap::new(),
            list: String::new(),
            token: String::new(),
            watches: Vec::new(),
        }
    }

    /// Plays a request; `None` for a watch, which is looked at in the end.
    pub(crate) async fn play(&mut self, template: &Template) -> Option<Exchange> {
        let (path, body) = (self.resolve(&template.path), self.resolve(&template.body));
        if template.is_watch {
            self.watches.push((template.clone(), path));
            return None;
        }
        let headers = [("content-type", template.content_type), ("accept", template.accept)];
        let headers: Vec<(&str, &str)> = headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let method = Method::from_bytes(template.method.as_bytes()).unwrap();
        let sending = self.server.send(method, &path, &headers, body);
        let answer = tokio::time::timeout(PATIENCE, sending)
            .await
            .unwrap_or_else(|_| panic!("no answer to {template}"));
        let mut exchange = Exchange::of(template.clone(), &answer);
        if template.collection().starts_with("definition") {
            self.settle(&mut exchange).await;
        }
        if let Content::Json(value) = &exchange.content {
            self.learn(value);
        }
        Some(exchange)
    }

    /// Waits until a changed definition is served, and leaves of it what does not depend on how fast that was.
    async fn settle(&self, exchange: &mut Exchange) {
        let Content::Json(body) = &mut exchange.content else {
            return;
        };
        if exchange.code >= 300 {
            return;
        }
        let versions = body["spec"]["versions"].as_array().into_iter().flatten();
        let served: Vec<(String, Value)> = versions
            .filter(|version| version["served"] == true)
            .map(|version| {
                let column = version["additionalPrinterColumns"][0]["name"].clone();
                (version["name"].as_str().unwrap_or_default().to_owned(), column)
            })
            .collect();
        for (version, column) in served {
            let path = format!(
                "/apis/{}/{version}/namespaces/{}/things",
                own_group(self.server),
                self.server.namespace
            );
            let columns = async || {
                let table = self
                    .server
                    .get_as(&path, "application/json;as=Table;v=v1;g=meta.k8s.io")
                    .await;
                let table: Value = serde_json::from_slice(&table.body).unwrap_or_default();
                table["columnDefinitions"][1]["name"].clone()
            };
            self.server.soon(columns, |found| *found == column).await;
        }
        let metadata = &body["metadata"];
        *body = json!({"spec": body["spec"], "generation": metadata["generation"], "name": metadata["name"]});
    }

    /// The watches of the script, each up to one last change.
    pub(crate) async fn end(mut self) -> Vec<Exchange> {
        let mut exchanges = Vec::new();
        for (template, path) in std::mem::take(&mut self.watches) {
            exchanges.push(self.watch(template, &path).await);
        }
        exchanges
    }

    async fn watch(&mut self, template: Template, path: &str) -> Exchange {
        let headers: Vec<(&str, &str)> = template.accept.map(|accept| ("accept", accept)).into_iter().collect();
        let response = self.server.open(Method::GET, path, &headers, "").await;
        if response.status() != 200 {
            return Exchange::of(template, &super::super::support::read(response).await);
        }
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        let collection = collection_path(self.server, template.collection()).expect("a watch is of a collection");
        let made = self
            .server
            .send(
                Method::POST,
                &collection,
                &[("content-type", JSON)],
                self.end_of(template.collection()).to_string(),
            )
            .await;
        assert!(made.code.is_success(), "{made:?}");
        let mut stream = Events::of(response);
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            if event["object"]["metadata"]["name"] == END {
                break;
            }
            let is_error = event["type"] == "ERROR";
            if event["type"] != "BOOKMARK" {
                events.push(event);
            }
            if is_error {
                break;
            }
        }
        // The next watch of this collection has an end of its own.
        self.server.delete(&format!("{collection}/{END}")).await.ok();
        Exchange {
            template,
            code: 200,
            content_type,
            warnings: Vec::new(),
            content: Content::Events(events),
        }
    }

    fn end_of(&self, collection: &str) -> Value {
        let mut object = match collection {
            "widgets" | "oldwidgets" => self.server.widget(END),
            "instances" => self.server.instance(END),
            _ => json!({"metadata": {"name": END}}),
        };
        object["metadata"]["labels"] = json!({"app": "x"});
        object["metadata"]["finalizers"] = json!([]);
        if collection == "oldwidgets" {
            object["apiVersion"] = format!("{}/v1beta1", self.server.group).into();
        }
        object
    }

    pub(crate) fn resolve(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            out.push_str(before);
            let place = after
                .split_once('>')
                .and_then(|(place, after)| Some((self.place(place)?, after)));
            match place {
                Some((value, after)) => {
                    out.push_str(&value);
                    rest = after;
                }
                None => {
                    out.push('<');
                    rest = after;
                }
            }
        }
        out + rest
    }

    /// What stands at a place; of what no answer has told yet, something that was never served.
    fn place(&self, place: &str) -> Option<String> {
        let of = |name: &str, field: fn(&Known) -> &String, unknown: &str| {
            self.known.get(name).map_or(unknown, |known| field(known)).to_owned()
        };
        Some(match place.split_once(' ') {
            Some(("rv", name)) => of(name, |known| &known.last, "1"),
            Some(("first", name)) => of(name, |known| &known.first, "1"),
            Some(("uid", name)) => of(name, |known| &known.uid, "unknown"),
            None if place == "ns" => self.server.namespace.clone(),
            None if place == "group" => self.server.group.clone(),
            None if place == "own" => own_group(self.server),
            None if place == "list" => self.list.clone(),
            None if place == "continue" => self.token.clone(),
            _ => collection_path(self.server, place)?,
        })
    }

    fn learn(&mut self, value: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &value["metadata"];
        if value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) {
            value["items"]
                .as_array()
                .into_iter()
                .flatten()
                .for_each(|item| self.learn(item));
            self.list = text(&metadata["resourceVersion"]);
            self.token = text(&metadata["continue"]);
        } else if metadata["uid"].is_string() && metadata["resourceVersion"].is_string() {
            let revision = text(&metadata["resourceVersion"]);
            let uid = text(&metadata["uid"]);
            let known = self.known.entry(text(&metadata["name"])).or_insert_with(|| Known {
                first: revision.clone(),
                last: String::new(),
                uid: String::new(),
            });
            (known.last, known.uid) = (revision, uid);
        }
    }
}

impl Exchange {
    fn of(template: Template, answer: &Answer) -> Exchange {
        let content = match serde_json::from_slice(&answer.body) {
            Ok(value) => Content::Json(value),
            Err(_) => Content::Text(String::from_utf8_lossy(&answer.body).into_owned()),
        };
        let header = |name: &str| {
            answer
                .headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
                .unwrap_or_default()
        };
        Exchange {
            template,
            code: answer.code.as_u16(),
            content_type: header("content-type"),
            warnings: answer.warnings().into_iter().map(str::to_owned).collect(),
            content,
        }
    }
}
