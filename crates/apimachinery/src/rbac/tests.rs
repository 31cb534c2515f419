use super::*;

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Rule {
        verbs: own(verbs),
        api_groups: own(groups),
        resources: own(resources),
        resource_names: own(names),
        non_resource_urls: Vec::new(),
    }
}

fn paths(verbs: &[&str], urls: &[&str]) -> Rule {
    Rule {
        non_resource_urls: urls.iter().map(|text| (*text).to_owned()).collect(),
        ..rule(verbs, &[], &[], &[])
    }
}

fn resource<'r>(group: &'r str, resource: &'r str, subresource: &'r str, name: &'r str) -> Subject<'r> {
    Subject::Resource {
        group,
        resource,
        subresource,
        name,
    }
}

#[test]
fn a_rule_allows_what_it_names_and_nothing_else() {
    let pods = rule(&["get", "list"], &[""], &["pods", "pods/log"], &[]);
    let all = rule(&["*"], &["*"], &["*"], &[]);
    let scales = rule(&["get"], &["*"], &["*/scale"], &[]);
    let one = rule(&["get", "create"], &[""], &["secrets"], &["a"]);
    for (rule, verb, subject, allowed) in [
        (&pods, "get", resource("", "pods", "", "x"), true),
        (&pods, "get", resource("", "pods", "log", "x"), true),
        (&pods, "get", resource("", "pods", "exec", "x"), false),
        (&pods, "delete", resource("", "pods", "", "x"), false),
        (&pods, "get", resource("apps", "pods", "", "x"), false),
        (&pods, "get", resource("", "pod", "", "x"), false),
        (&all, "sing", resource("any", "thing", "part", "x"), true),
        (&scales, "get", resource("apps", "deployments", "scale", "x"), true),
        (&scales, "get", resource("apps", "deployments", "", "x"), false),
        (&scales, "get", resource("apps", "deployments", "upscale", "x"), false),
        (&one, "get", resource("", "secrets", "", "a"), true),
        (&one, "get", resource("", "secrets", "", "b"), false),
        // A create or a list has no name that could be in the rule.
        (&one, "create", resource("", "secrets", "", ""), false),
        (&all, "get", Subject::Path("/metrics"), false),
    ] {
        assert_eq!(rule.allows(verb, &subject), allowed, "{rule} {verb} {subject:?}");
    }
}

#[test]
fn paths_are_exact_or_end_in_a_star() {
    let rule = paths(&["get"], &["/healthz", "/api/*", "/metrics*"]);
    for (path, allowed) in [
        ("/healthz", true),
        ("/healthz/ping", false),
        ("/api", false),
        ("/api/", true),
        ("/api/v1", true),
        ("/metrics", true),
        ("/metrics/slis", true),
        ("/met", false),
    ] {
        assert_eq!(rule.allows("get", &Subject::Path(path)), allowed, "{path}");
    }
    assert!(!rule.allows("get", &resource("", "healthz", "", "")));
    assert!(paths(&["*"], &["*"]).allows("put", &Subject::Path("/any")));
}

#[test]
fn what_is_not_held_is_named() {
    let held = [
        rule(&["get", "list"], &[""], &["pods"], &[]),
        rule(&["*"], &["apps"], &["*/scale"], &[]),
        rule(&["get"], &[""], &["secrets"], &["a", "b"]),
        paths(&["get"], &["/api*"]),
    ];
    let texts = |wanted: &[Rule]| -> Vec<String> { uncovered(&held, wanted).iter().map(Rule::to_string).collect() };
    for covered in [
        rule(&["get"], &[""], &["pods"], &[]),
        rule(&["get"], &[""], &["pods"], &["x"]),
        rule(&["patch"], &["apps"], &["deployments/scale"], &[]),
        rule(&["get"], &[""], &["secrets"], &["b"]),
        paths(&["get"], &["/api/v1", "/apis*"]),
    ] {
        assert!(texts(std::slice::from_ref(&covered)).is_empty(), "{covered}");
    }
    // Two rules together cover what none of them covers alone.
    assert!(texts(&[rule(&["get"], &[""], &["pods", "secrets"], &["a"])]).is_empty());
    assert_eq!(
        texts(&[rule(&["get", "watch", "delete"], &[""], &["pods"], &[])]),
        [r#"{APIGroups:[""], Resources:["pods"], Verbs:["watch" "delete"]}"#]
    );
    assert_eq!(
        texts(&[rule(&["get"], &[""], &["secrets"], &[])]),
        [r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#]
    );
    assert_eq!(
        texts(&[rule(&["get"], &[""], &["secrets"], &["a", "c"])]),
        [r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["c"], Verbs:["get"]}"#]
    );
    assert_eq!(
        texts(&[paths(&["get", "put"], &["/api"])]),
        [r#"{NonResourceURLs:["/api"], Verbs:["put"]}"#]
    );
    assert_eq!(
        texts(&[rule(&["*"], &["*"], &["*"], &[])]),
        [r#"{APIGroups:["*"], Resources:["*"], Verbs:["*"]}"#]
    );
}

#[test]
fn a_rule_of_many_permissions_costs_no_more_than_a_small_one() {
    let many: Vec<String> = (0..2000).map(|number| format!("n{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let huge = rule(&many, &many, &many, &many);
    assert_eq!(uncovered(&[], std::slice::from_ref(&huge)).len(), 1);
    assert!(uncovered(&[rule(&["*"], &["*"], &["*"], &[])], &[huge]).is_empty());
}

#[test]
fn a_rule_is_written_as_it_is_read() {
    let original = rule(&["get"], &[""], &["pods"], &["a"]);
    assert_eq!(Rule::read(&original.to_value()), original);
    let odd = crate::json!({"verbs": "get", "resources": [1, "pods"], "apiGroups": null});
    assert_eq!(Rule::read(&odd), rule(&[], &[], &["pods"], &[]));
}
