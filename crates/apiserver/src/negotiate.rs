//! Content negotiation: which form of an object a client asks for, and in which encoding a body comes and goes.

use http::{HeaderMap, header};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object or list itself.
    Object,
    /// Metadata alone: `PartialObjectMetadata` or its list, in this version of `meta.k8s.io`.
    Partial(&'static str),
    /// A `Table`, in this version of `meta.k8s.io`.
    Table(&'static str),
}

/// The encoding of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

impl Encoding {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
        }
    }
}

/// What a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) form: Form,
    pub(crate) encoding: Encoding,
    /// Whether it is the list's metadata that was asked for.
    pub(crate) is_of_list: bool,
}

impl Wanted {
    pub(crate) const JSON: Wanted = Wanted {
        form: Form::Object,
        encoding: Encoding::Json,
        is_of_list: false,
    };
}

/// Nothing of what a client takes is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAcceptable;

/// What the client takes of an object or list.
pub(crate) fn object(headers: &HeaderMap) -> Result<Wanted, NotAcceptable> {
    first(headers, |media| {
        let encoding = encoding(media.name)?;
        let form = match media.parameter("as") {
            None => Form::Object,
            Some(form) if media.parameter("g") == Some("meta.k8s.io") => {
                let version = match media.parameter("v") {
                    Some("v1") => "meta.k8s.io/v1",
                    Some("v1beta1") => "meta.k8s.io/v1beta1",
                    _ => return None,
                };
                match form {
                    "PartialObjectMetadata" | "PartialObjectMetadataList" => Form::Partial(version),
                    "Table" => Form::Table(version),
                    _ => return None,
                }
            }
            Some(_) => return None,
        };
        Some(Wanted {
            form,
            encoding,
            is_of_list: media.parameter("as") == Some("PartialObjectMetadataList"),
        })
    })
    .unwrap_or(Ok(Wanted::JSON))
}

/// The version of `apidiscovery.k8s.io` that the client takes, `None` for the older documents.
pub(crate) fn discovery(headers: &HeaderMap) -> Result<(Option<&'static str>, Encoding), NotAcceptable> {
    first(headers, |media| {
        let encoding = encoding(media.name)?;
        match (media.parameter("as"), media.parameter("g"), media.parameter("v")) {
            (None, ..) => Some((None, encoding)),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => Some((Some("v2"), encoding)),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                Some((Some("v2beta1"), encoding))
            }
            _ => None,
        }
    })
    .unwrap_or(Ok((None, Encoding::Json)))
}

/// Whether the client takes plain JSON.
pub(crate) fn takes_json(headers: &HeaderMap) -> bool {
    let json = |media: &Media<'_>| matches!(media.name, "application/json" | "*/*" | "application/*").then_some(());
    first(headers, json).is_none_or(|found| found.is_ok())
}

/// Whether the client has the body with this tag (in quotes) already.
pub(crate) fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter();
    tags.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim())
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The media types of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyType {
    Json,
    Yaml,
    JsonPatch,
    MergePatch,
    StrategicMergePatch,
    Apply,
    Protobuf,
    Unknown,
}

/// The media type of the request body; none named means JSON.
pub(crate) fn body_type(headers: &HeaderMap) -> BodyType {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return BodyType::Json;
    };
    let Ok(value) = value.to_str() else {
        return BodyType::Unknown;
    };
    match Media::parse(value).name {
        "" | "application/json" => BodyType::Json,
        "application/yaml" => BodyType::Yaml,
        "application/json-patch+json" => BodyType::JsonPatch,
        "application/merge-patch+json" => BodyType::MergePatch,
        "application/strategic-merge-patch+json" => BodyType::StrategicMergePatch,
        "application/apply-patch+yaml" => BodyType::Apply,
        "application/vnd.kubernetes.protobuf" => BodyType::Protobuf,
        _ => BodyType::Unknown,
    }
}

fn encoding(name: &str) -> Option<Encoding> {
    match name {
        "application/json" | "*/*" | "application/*" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        _ => None,
    }
}

/// The first of the client's media types, in the order of its preference, that `accept` takes; `None` when it names none.
fn first<T>(headers: &HeaderMap, accept: impl Fn(&Media<'_>) -> Option<T>) -> Option<Result<T, NotAcceptable>> {
    let mut medias = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        if value == "application/json" {
            medias.push(Media {
                name: "application/json",
                parameters: "",
            });
            continue;
        }
        let Ok(value) = value.to_str() else {
            return Some(Err(NotAcceptable));
        };
        medias.extend(
            value
                .split(',')
                .filter(|part| !part.trim().is_empty())
                .map(Media::parse),
        );
    }
    if medias.is_empty() {
        return None;
    }
    if medias.len() > 1 {
        medias.sort_by_key(|media| std::cmp::Reverse(media.quality()));
    }
    Some(
        medias
            .iter()
            .filter(|media| media.quality() > 0)
            .find_map(accept)
            .ok_or(NotAcceptable),
    )
}

struct Media<'h> {
    name: &'h str,
    parameters: &'h str,
}

impl<'h> Media<'h> {
    fn parse(text: &'h str) -> Media<'h> {
        let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
        Media {
            name: name.trim(),
            parameters,
        }
    }

    fn parameter(&self, name: &str) -> Option<&'h str> {
        self.parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            (key.trim() == name).then(|| value.trim().trim_matches('"'))
        })
    }

    /// In thousandths.
    fn quality(&self) -> u32 {
        let Some(text) = self.parameter("q") else { return 1000 };
        text.parse::<f32>()
            .map_or(0, |quality| (quality.clamp(0.0, 1.0) * 1000.0) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_first_known_form_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        for (value, expected) in [
            ("", Ok(Wanted::JSON)),
            ("*/*", Ok(Wanted::JSON)),
            ("application/vnd.kubernetes.protobuf,application/json", Ok(Wanted::JSON)),
            (
                "application/yaml",
                Ok(Wanted {
                    encoding: Encoding::Yaml,
                    ..Wanted::JSON
                }),
            ),
            ("application/yaml;q=0.5, application/json", Ok(Wanted::JSON)),
            (
                table,
                Ok(Wanted {
                    form: Form::Table("meta.k8s.io/v1"),
                    ..Wanted::JSON
                }),
            ),
            (
                partial,
                Ok(Wanted {
                    form: Form::Partial("meta.k8s.io/v1"),
                    is_of_list: true,
                    ..Wanted::JSON
                }),
            ),
            ("application/json;as=Foo;v=v1;g=meta.k8s.io", Err(NotAcceptable)),
            ("application/vnd.kubernetes.protobuf", Err(NotAcceptable)),
            ("application/json;q=0", Err(NotAcceptable)),
        ] {
            assert_eq!(object(&accept(value)), expected, "{value}");
        }
        assert_eq!(object(&HeaderMap::new()), Ok(Wanted::JSON));
    }

    #[test]
    fn discovery_comes_aggregated_when_asked_for() {
        let both = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(discovery(&accept(both)), Ok((Some("v2"), Encoding::Json)));
        assert_eq!(discovery(&accept("application/json")), Ok((None, Encoding::Json)));
        assert_eq!(
            discovery(&accept(
                "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList"
            )),
            Err(NotAcceptable)
        );
    }

    #[test]
    fn a_body_without_a_type_is_json() {
        assert_eq!(body_type(&HeaderMap::new()), BodyType::Json);
        let headers = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        )]);
        assert_eq!(body_type(&headers), BodyType::Json);
    }
}
