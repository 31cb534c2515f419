use super::*;
use crate::document;

fn findings(text: &str) -> Vec<String> {
    let template = &document::templates(text).unwrap()[0];
    let findings = lint(template)
        .into_iter()
        .filter(|finding| finding.rule != Rule::ExposeNothing);
    findings.map(|finding| format!("{} {finding}", finding.rule)).collect()
}

#[test]
fn a_good_template_has_no_findings() {
    let text = "
kind: Template
apiVersion: template.openshift.io/v1
metadata: {name: t}
message: see ${NAME}
labels: {app: '${NAME}'}
parameters:
- {name: NAME, value: x, required: true}
- {name: PASSWORD, generate: expression, from: '[a-zA-Z0-9]{16}'}
- {name: URI, generate: derived, from: 'u:${PASSWORD|url}'}
- {name: TLS, value: 'false'}
- {name: SIZE, value: '1'}
objects:
- apiVersion: v1
  kind: Secret
  metadata:
    name: ${NAME}
    annotations:
      template.openshift.io/expose-uri: '{.data.uri}'
      template.osb.internal/when: TLS
  stringData: {uri: '${URI}', '${NAME}': '${{SIZE}}'}
";
    assert_eq!(lint(&document::templates(text).unwrap()[0]), []);
}

/// Bugs P19, P5 and P6: duplicates, unknown generators and malformed expressions are found before anybody processes.
#[test]
fn parameters_are_looked_at() {
    assert_eq!(
        findings(
            "kind: Template\nparameters: [{name: A}, {name: A}, {name: b-c}, {}, {name: G, generate: magic}, {name: E, generate: \
             expression, from: '[a-z]{3,5}'}, {name: K, generate: expression, from: changeme}, {name: D, generate: derived, from: \
             '${X}'}, {name: L, generate: derived, from: '${L}'}, {name: V, value: '${A}-svc'}, {name: W, value: '${env.A}'}]\n\
             message: ${A}${G}${E}${K}${D}${V}${W}"
        ),
        [
            "parameter-twice parameters[1] A: is declared more than once; keep one of them: only the last one counts",
            "parameter-name parameters[2] b-c: has a name that references cannot have; write letters, digits and _ only",
            "parameter-name parameters[3]: has a name that references cannot have; write letters, digits and _ only",
            "parameter-generator parameters[4] G: has the generator \"magic\", which does not exist; write generate: expression, or \
             derived",
            "parameter-expression parameters[5] E: has a bad expression at byte 5 of from: a length that is not one number; write a \
             length behind the set: [a-z]{8}",
            "parameter-constant parameters[6] K: generates the same text each time; write sets such as [a-zA-Z0-9]{16}, or make it \
             the value",
            "parameter-derived parameters[7] D: refers to \"${X}\" in from, which is no parameter; declare it, or write the \
             reference as ${NAME|literal}",
            "parameter-derived parameters[8] L: needs itself: L -> L; give one of them a value",
            "parameter-default parameters[9] V: refers to A in its value, which is not replaced; write generate: derived and put \
             the text into from, or leave it if it is meant as it stands",
        ]
    );
    assert_eq!(
        findings("kind: Template\nparameters: [{name: A}]"),
        ["parameter-unused parameters[0] A: is not used; write ${A} somewhere, or remove it"]
    );
}

/// Bug P18: references without a parameter are told, once for each object.
#[test]
fn references_are_looked_at() {
    assert_eq!(
        findings(
            "kind: Template\nparameters: [{name: NAME}]\nmessage: ${name} ${NAME}\nobjects:\n- {kind: K, apiVersion: v1, s: '${1} \
             ${1}', t: ['${1}', '${{X}}', 'a${{NAME}}', '${NAME|md5}', '${Y|base64}'], '${Z}': 1}\n"
        ),
        [
            "reference-unknown message: has ${name}, which is no parameter and stays; write ${NAME}",
            "reference-unknown objects[0] (K) s: has ${1}, which is no parameter and stays; declare the parameter, or leave it if it \
             is meant as it stands",
            "reference-unknown objects[0] (K) t[1]: has ${{X}}, which is no parameter and stays; declare the parameter, or leave it \
             if it is meant as it stands",
            "reference-typed objects[0] (K) t[2]: has ${{NAME}} inside of a text, where it stays; write ${NAME}, or nothing else \
             beside it",
            "reference-unknown objects[0] (K) t[3]: has a function of NAME that does not exist, so that it stays; functions are \
             base64, base64decode, json, jsoninner, lower, upper, trim, url and literal",
            "reference-unknown objects[0] (K) t[4]: has ${Y}, which is no parameter and stays; declare the parameter, or leave it if \
             it is meant as it stands",
            "reference-unknown objects[0] (K) ${Z}: has ${Z}, which is no parameter and stays; declare the parameter, or leave it \
             if it is meant as it stands",
        ]
    );
}

#[test]
fn objects_are_looked_at() {
    assert_eq!(
        findings(
            "kind: Template\nobjects:\n- text\n- {kind: K}\n- {kind: Route, apiVersion: v1, metadata: {name: '${N}', namespace: fixed}}\n\
             - {kind: K, apiVersion: a/v1, metadata: {name: nn, namespace: '${NS}', labels: {l: 1}}}\n\
             - {kind: K, apiVersion: a/v2, metadata: {name: nn, annotations: {template.osb.internal/when: 'X ='}}}\n\
             - {kind: K, apiVersion: a/v2, metadata: {name: nn}}\n- {kind: K, apiVersion: a/v1, metadata: {name: nn, namespace: x}}\n"
        ),
        [
            "object-shape objects[0]: is a text; write an object with apiVersion and kind",
            "object-version objects[1] (K): has no apiVersion; write one, such as v1 or apps/v1",
            "openshift-kind objects[2] (Route): needs a cluster that serves the groups of OpenShift",
            "name-unknown objects[2] (Route) metadata.name: refers to N, which is no parameter; declare the parameter, or correct the \
             name",
            "namespace-removed objects[2] (Route) metadata.namespace: is fixed and will be removed: the object goes where the \
             instance is; leave it out, or make it a parameter",
            "namespace-unknown objects[3] (K) metadata.namespace: refers to NS, which is no parameter; declare the parameter, or \
             leave the namespace out",
            "labels objects[3] (K) metadata.labels.l: is a number; write a text, in quotes",
            "when objects[4] (K) metadata.annotations.template.osb.internal/when: has a condition that cannot be read at byte 2: \
             expected && or ||; write NAME, !NAME, NAME == 'text' or NAME != 'text', with && and || between them",
            "namespace-removed objects[6] (K) metadata.namespace: is fixed and will be removed: the object goes where the instance \
             is; leave it out, or make it a parameter",
            "object-twice objects[6] (K): has the same kind, name and namespace as objects[5] (K); give it another name",
        ]
    );
}

#[test]
fn exposures_are_looked_at() {
    let text = |first: &str, second: &str| {
        format!(
            "kind: Template\nparameters: [{{name: P, value: v}}]\nmessage: ${{P}}\nobjects:\n- {{kind: Secret, apiVersion: v1, \
             metadata: {{annotations: {{'template.openshift.io/expose-{first}}}}}}}\n- {{kind: Service, apiVersion: v1, metadata: \
             {{annotations: {{'template.openshift.io/expose-{second}}}}}}}\n"
        )
    };
    assert_eq!(findings(&text("a': '{.data.${P}}'", "b': ''")), [""; 0]);
    assert_eq!(
        findings(&text("a': '{.data'", "': x")),
        [
            "expose-path objects[0] (Secret) metadata.annotations: credential a: invalid JSONPath at byte 6: a path begins with a dot, \
             a bracket, $ or @; write {.path.to.a.value} as for kubectl -o jsonpath",
            "expose-key objects[1] (Service) metadata.annotations: the annotation template.openshift.io/expose- has no name behind the \
             dash; write template.openshift.io/expose-NAME",
        ]
    );
    assert_eq!(
        findings(&text("a': x", "a': z")),
        [
            "expose-key objects[1] (Service) metadata.annotations: exposes \"a\", as objects[0] (Secret) metadata.annotations does; give \
             one of them another name",
        ]
    );
}

/// Bug S25: a template that can be bound and has nothing to tell is told.
#[test]
fn a_template_that_exposes_nothing_is_told() {
    let rules = |bindable: &str| {
        let text = format!(
            "kind: Template\nmetadata: {{annotations: {{template.openshift.io/bindable: '{bindable}'}}}}\nobjects: [{{kind: K, \
             apiVersion: v1}}]"
        );
        lint(&document::templates(&text).unwrap()[0])
            .iter()
            .map(|finding| finding.rule)
            .collect::<Vec<_>>()
    };
    assert_eq!((rules("true"), rules("false")), (vec![Rule::ExposeNothing], vec![]));
}

/// Bug A2: labels are validated.
#[test]
fn labels_are_looked_at() {
    assert_eq!(
        findings("kind: Template\nlabels: {'a b': x, c: 'd e', '${X}': 'e f', ok: fine, empty: ''}\n"),
        [
            "labels labels: has \"a b\", whose key or value no label can have; use letters, digits, -, _ and . in at most 63 characters, \
             with a letter or digit at both ends",
            "labels labels: has \"c\", whose key or value no label can have; use letters, digits, -, _ and . in at most 63 characters, \
             with a letter or digit at both ends",
            "reference-unknown labels: has ${X}, which is no parameter and stays; declare the parameter, or leave it if it is meant as \
             it stands",
        ]
    );
}

/// Bug A2: what may be stored is one question with one answer, for a create, an update and a lint.
#[test]
fn validation_refuses_the_errors_of_lint() {
    let template = |text: &'static str| document::templates(text).unwrap().remove(0);
    assert!(validate(&template("kind: Template\nparameters: [{name: A}]")).is_ok());
    let problems = validate(&template(
        "kind: Template\nmetadata: {name: t}\nparameters: [{name: A}, {name: A}]",
    ))
    .unwrap_err();
    assert_eq!(
        problems.to_string(),
        "template t: parameters[1] A: is declared more than once; keep one of them: only the last one counts"
    );
}

#[test]
fn findings_are_bounded() {
    let objects = "- {kind: K}\n".repeat(10_000);
    let text = format!("kind: Template\nobjects:\n{objects}");
    assert_eq!(findings(&text).len(), MAX_OF_A_RULE);
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    let names: HashSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
    assert!(Rule::ALL.iter().all(|rule| rule.about().ends_with('.')));
}
