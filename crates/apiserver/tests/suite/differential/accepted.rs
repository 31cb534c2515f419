//! The differences that are known and meant, each with its reason.

use super::compare::Difference;
use super::player::{Content, Exchange};
use super::script::Template;

/// A difference that is no defect.
pub(crate) struct Accepted {
    pub(crate) what: &'static str,
    #[expect(dead_code, reason = "it is for the reader of the table")]
    pub(crate) why: &'static str,
    /// Whether a difference between an answer of the real server and ours is this one.
    pub(crate) is: fn(&Exchange, &Exchange, &Difference) -> bool,
    /// Whether the servers hold something different from here on, so that the rest of the script says nothing.
    pub(crate) parts: bool,
}

fn is_strict(template: &Template) -> bool {
    template.path.contains("fieldValidation=Strict")
}

/// Each row must occur in the runs with fixed seeds.
pub(crate) const TABLE: &[Accepted] = &[
    Accepted {
        what: "what is applied does not fit its type",
        why: "a real server answers 500, as if it were at fault",
        is: |real, ours, _| {
            (real.code, ours.code) == (500, 400) && real.template.content_type == Some(super::script::APPLY)
        },
        parts: false,
    },
    Accepted {
        what: "a strategic merge patch that contradicts itself",
        why: "a real server answers 500, as if it were at fault",
        is: |real, ours, _| {
            real.code == 500
                && [400, 422].contains(&ours.code)
                && real.template.content_type == Some(super::script::STRATEGIC)
        },
        parts: false,
    },
    Accepted {
        what: "an apply to the scale of a custom resource",
        why: "a real server cannot convert what it has made, and answers 500",
        is: |real, ours, _| {
            (real.code, ours.code) == (500, 200) && real.template.content_type == Some(super::script::APPLY)
        },
        parts: true,
    },
    Accepted {
        what: "texts",
        why: "nobody decides by reading a message; code, reason, causes and their fields are compared",
        is: |real, ours, difference| real.code == ours.code && difference.path.ends_with("message"),
        parts: false,
    },
    Accepted {
        what: "descriptions of columns",
        why: "they are for people",
        is: |_, _, difference| difference.path == "body.columnDefinitions.*.description",
        parts: false,
    },
    Accepted {
        what: "no items",
        why: "an empty list of metadata says null there, ours the empty list",
        is: |_, _, difference| {
            difference.path == "body.items" && difference.real.is_null() && difference.ours == serde_json::json!([])
        },
        parts: false,
    },
    Accepted {
        what: "a revision that is no number",
        why: "a real server answers 500, as if it were at fault",
        is: |real, ours, _| (real.code, ours.code) == (500, 400) && real.template.path.contains("resourceVersion=abc"),
        parts: false,
    },
    Accepted {
        what: "empty details of 406",
        why: "a real server has two layers that answer it, one with and one without",
        is: |real, _, difference| real.code == 406 && difference.path == "body.details",
        parts: false,
    },
    Accepted {
        what: "a patch takes away the type",
        why: "a real server falls over this in several ways, one of them a 500",
        is: |real, ours, _| {
            real.template.body == r#"{"apiVersion":null}"# && real.code >= 400 && (ours.code == 200 || ours.code == 422)
        },
        parts: true,
    },
    Accepted {
        what: "warnings of a refusal",
        why: "a refusal says what is wrong; the warnings that were found before are dropped",
        is: |real, _, difference| {
            real.code >= 400 && difference.path == "warnings" && difference.ours == serde_json::json!([])
        },
        parts: false,
    },
    Accepted {
        what: "a create with a resourceVersion, or one that is no number",
        why: "a real server answers 500, as if it were at fault",
        is: |real, ours, _| {
            real.template.body.contains("resourceVersion") && [500, 409].contains(&real.code) && ours.code == 400
        },
        parts: false,
    },
    Accepted {
        what: "warnings about unknown fields of a Scale",
        why: "they are dropped without a word",
        is: |real, _, difference| real.template.path.contains("/scale") && difference.path == "warnings",
        parts: false,
    },
    Accepted {
        what: "a number too large for its format",
        why: "a real server names no field, ours does",
        is: |real, _, difference| {
            difference.path.starts_with("body.details.causes")
                && matches!(&real.content, Content::Json(body) if body.to_string().contains("<nil>"))
        },
        parts: false,
    },
    Accepted {
        what: "POST on a named custom resource",
        why: "a real server takes it for a create in the collection, if the body is right",
        is: |real, ours, _| real.template.method == "POST" && real.template.path.contains(">/") && ours.code == 405,
        parts: true,
    },
    Accepted {
        what: "warnings about certificates",
        why: "what is in a Secret is not looked into",
        is: |_, _, difference| difference.path == "warnings" && difference.real.to_string().contains("PEM"),
        parts: false,
    },
    Accepted {
        what: "unknown fields of a Scale that may have none",
        why: "they are dropped without a word",
        is: |real, ours, _| {
            is_strict(&real.template)
                && real.template.path.contains("/scale")
                && real.code == 422
                && [200, 400].contains(&ours.code)
        },
        parts: true,
    },
    Accepted {
        what: "the deletion of what a PUT creates",
        why: "a real server stores a deletionTimestamp of the client there, though nobody deleted the object",
        is: |real, _, difference| {
            real.template.method == "PUT" && real.code == 201 && difference.path.starts_with("body.metadata.deletion")
        },
        parts: true,
    },
    Accepted {
        what: "the revision of what would be created",
        why: "a dry run stores nothing; a real server repeats the client's",
        is: |real, _, difference| {
            real.code == 201
                && (real.template.method == "PUT" || real.template.path.contains("dryRun"))
                && difference.path == "body.metadata.resourceVersion"
                && difference.ours.is_null()
        },
        parts: false,
    },
    Accepted {
        what: "selfLink",
        why: "it is served no more; an update on a real server lets one through",
        is: |_, _, difference| difference.path == "body.metadata.selfLink" && difference.ours.is_null(),
        parts: true,
    },
    Accepted {
        what: "unknown fields of an object of another kind",
        why: "a real server does not look for them, since it has no schema of that kind",
        is: |real, ours, _| {
            is_strict(&real.template) && (real.code, ours.code) == (422, 400) && real.template.body.contains("Other")
        },
        parts: false,
    },
    Accepted {
        what: "a merge patch that is no object",
        why: "a real server applies it and then misses the object",
        is: |real, ours, _| (real.code, ours.code) == (422, 400) && !real.template.body.starts_with('{'),
        parts: false,
    },
    Accepted {
        what: "null in the last state of a Secret",
        why: "a real server shows it as it came only when it stores it no more, and elsewhere as the empty text",
        is: |real, _, difference| {
            real.template.method != "GET"
                && difference.path.starts_with("body.data.")
                && difference.real.is_null()
                && difference.ours == serde_json::json!("")
        },
        parts: false,
    },
];

/// Those that occur only where definitions change.
pub(crate) const OF_CHANGES: &[Accepted] = &[Accepted {
    what: "what was right when it was stored",
    why: "a real server leaves it unchecked as long as a write does not change it, ours asks for what its definition says now",
    is: |real, ours, _| (real.code, ours.code) == (200, 422) && real.template.collection().ends_with("things"),
    parts: true,
}];
