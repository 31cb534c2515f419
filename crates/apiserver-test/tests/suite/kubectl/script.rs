//! The commands, in order, with the files that they read.

/// One command.
pub(crate) struct Step {
    pub(crate) command: &'static str,
    pub(crate) input: &'static str,
    /// The exit code on our server.
    pub(crate) code: i32,
    pub(crate) expect: Expect,
}

/// How the outputs of the two servers compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Same,
    /// The same once the real server has caught up with a new definition.
    SameSoon,
    /// The same exit code and other words, for this reason.
    Differs(&'static str),
}

const fn same(command: &'static str) -> Step {
    Step {
        command,
        input: "",
        code: 0,
        expect: Expect::Same,
    }
}

const fn given(command: &'static str, input: &'static str) -> Step {
    Step {
        command,
        input,
        code: 0,
        expect: Expect::Same,
    }
}

const fn soon(command: &'static str) -> Step {
    Step {
        command,
        input: "",
        code: 0,
        expect: Expect::SameSoon,
    }
}

const fn refused(command: &'static str) -> Step {
    Step {
        command,
        input: "",
        code: 1,
        expect: Expect::Same,
    }
}

const fn differs(command: &'static str, reason: &'static str) -> Step {
    Step {
        command,
        input: "",
        code: 0,
        expect: Expect::Differs(reason),
    }
}

/// The files of the script.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("definition.yaml", DEFINITION),
    ("widget.yaml", WIDGET),
    ("larger.yaml", LARGER),
    ("unknown.yaml", UNKNOWN),
    ("map.yaml", MAP),
    (
        "ssa.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: '1', b: '1'}\n",
    ),
    (
        "ssa2.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: '2'}\n",
    ),
    (
        "watched.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: watched}\ndata: {a: '1'}\n",
    ),
];

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.kubectl.example.com}
spec:
  group: kubectl.example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size, description: How large}
    - {name: Color, type: string, jsonPath: .spec.color, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: A thing of some size.
        required: [spec]
        properties:
          spec:
            type: object
            description: What it should be.
            required: [size]
            properties:
              size: {type: integer, minimum: 1, maximum: 10, description: How large it is.}
              replicas: {type: integer, description: How many there are.}
              color: {type: string, enum: [red, blue], default: red, description: What it looks like.}
              parts:
                type: array
                description: What it is made of.
                items:
                  type: object
                  properties: {name: {type: string}, port: {x-kubernetes-int-or-string: true}}
              labels: {type: object, additionalProperties: {type: string}}
          status:
            type: object
            properties:
              replicas: {type: integer}
              conditions:
                type: array
                items:
                  type: object
                  required: [type, status]
                  properties: {type: {type: string}, status: {type: string}}
";

const WIDGET: &str = "
apiVersion: kubectl.example.com/v1
kind: Widget
metadata: {name: w, labels: {app: demo}}
spec: {size: 3, replicas: 1, parts: [{name: a, port: 1}, {name: b, port: http}]}
";

const LARGER: &str = "
apiVersion: kubectl.example.com/v1
kind: Widget
metadata: {name: w, labels: {app: demo}}
spec: {size: 5, replicas: 1, parts: [{name: a, port: 1}]}
";

const UNKNOWN: &str = "
apiVersion: kubectl.example.com/v1
kind: Widget
metadata: {name: unknown}
spec: {size: 3, nothing: 1}
";

const MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: m, labels: {app: demo}}
data: {color: red, size: '3'}
";

const OURS: &str = "the texts of built-in kinds are our own";
const MORE: &str = "a real server has kinds and endpoints that we have not";

/// The script.
pub(crate) const SCRIPT: &[Step] = &[
    // Definitions.
    given("create -f -", DEFINITION),
    soon("wait --for=condition=Established crd/widgets.kubectl.example.com --timeout=60s"),
    same("get crd widgets.kubectl.example.com -o 'custom-columns=NAME:.metadata.name,KIND:.spec.names.kind'"),
    soon("explain widget.spec"),
    differs("explain widgets", OURS),
    same("explain widgets.spec.parts"),
    same("explain wd.spec.color"),
    same("explain widget --recursive --api-version=kubectl.example.com/v1"),
    refused("explain widget.nothing"),
    differs("explain configmaps", OURS),
    differs("explain widget.metadata", OURS),
    same("api-resources --api-group=kubectl.example.com"),
    same("api-resources --api-group=kubectl.example.com -o wide"),
    same("api-resources --api-group=coordination.k8s.io -o name"),
    same("api-resources --api-group=apiextensions.k8s.io"),
    differs("api-resources", MORE),
    differs("api-versions", MORE),
    // Create, read.
    soon("create -f widget.yaml"),
    refused("create -f widget.yaml"),
    refused("create -f unknown.yaml"),
    given("create -f unknown.yaml --validate=warn", ""),
    same("get widgets"),
    same("get wd -o wide"),
    same("get widget w -o yaml"),
    same("get widget w -o json"),
    same("get widget/w -o name"),
    same("get widgets -A"),
    same("get widgets --sort-by=.spec.size"),
    same("get widgets -l app=demo -o 'custom-columns=N:.metadata.name,S:.spec.size,C:.spec.color'"),
    same("get widgets -o 'jsonpath={.items[*].spec.parts[*].port}'"),
    same("get widgets --show-labels"),
    same("get widgets --field-selector metadata.name=w -o name"),
    same("get all -l app=demo"),
    refused("get widget none"),
    refused("get nothing"),
    same("describe widget w"),
    // Apply on the client's side, and what belongs to it.
    Step {
        command: "diff -f larger.yaml",
        input: "",
        code: 1,
        expect: Expect::Same,
    },
    same("apply -f larger.yaml"),
    same("apply -f larger.yaml"),
    same("diff -f larger.yaml"),
    same("apply view-last-applied widget/w"),
    same("get widget w -o 'jsonpath={.spec}'"),
    same("apply -f widget.yaml --dry-run=server -o 'jsonpath={.spec}'"),
    same("replace -f widget.yaml"),
    same("edit widget w"),
    same("get widget w -o 'jsonpath={.spec.color}'"),
    // Changes.
    same("patch widget w --type=merge -p '{\"spec\":{\"size\":7}}'"),
    same("patch widget w --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/size\",\"value\":8}]'"),
    refused("patch widget w --type=merge -p '{\"spec\":{\"size\":70}}'"),
    same(
        "patch widget w --subresource=status --type=merge -p '{\"status\":{\"replicas\":1,\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}'",
    ),
    same("wait --for=condition=Ready widget/w --timeout=60s"),
    same("wait --for=jsonpath={.spec.size}=8 widget/w --timeout=60s"),
    same("label widget w tier=front"),
    same("label widget w tier=back --overwrite"),
    refused("label widget w tier=front"),
    same("label widget w tier-"),
    same("annotate widget w note=x"),
    same("annotate widget w note-"),
    same("scale widget w --replicas=4"),
    same("scale widget w --replicas=5 --current-replicas=4"),
    refused("scale widget w --replicas=6 --current-replicas=4"),
    same("get widget w --subresource=scale"),
    same("get widget w -o 'jsonpath={.spec.replicas} {.metadata.generation}'"),
    // Built-in kinds.
    same("apply -f map.yaml"),
    same("get configmap m"),
    same("get configmap m -o yaml"),
    same("describe configmap m"),
    same("replace -f map.yaml"),
    same("create namespace other"),
    same("create configmap literal --from-literal=a=1 -o yaml --dry-run=server"),
    same("create secret generic s --from-literal=password=x"),
    same("describe secret s"),
    same("create serviceaccount robot"),
    same("create deployment web --image=nginx --replicas=2"),
    same("get deployment web -o 'jsonpath={.spec.strategy} {.spec.progressDeadlineSeconds}'"),
    same("scale deployment web --replicas=3"),
    same("set image deployment/web nginx=nginx:2"),
    same(
        "patch deployment web -p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"image\":\"side\"}]}}}}'",
    ),
    same("get deployment web -o 'jsonpath={.spec.template.spec.containers[*].name}'"),
    same("get deployments -o wide"),
    differs("explain deployment.spec.template.spec.containers", OURS),
    // Server-side apply.
    same("apply --server-side -f ssa.yaml"),
    refused("apply --server-side --field-manager=other -f ssa2.yaml"),
    same("apply --server-side --field-manager=other --force-conflicts -f ssa2.yaml"),
    same("get configmap ssa -o yaml --show-managed-fields"),
    same("apply --server-side -f widget.yaml --force-conflicts"),
    // Who may do what.
    differs("auth whoami", "the administrator of the real server has a uid"),
    same("auth whoami --as=bob --as-group=dev"),
    same("auth can-i create configmaps"),
    refused("auth can-i create configmaps --as=bob"),
    same("create role reader --verb=get,list --resource=configmaps"),
    same("create rolebinding readers --role=reader --user=bob"),
    same("auth can-i list configmaps --as=bob"),
    same("auth can-i --list --as=bob"),
    same("get configmaps --as=bob -o name"),
    refused("delete configmap ssa --as=bob"),
    same("create token robot --duration=600s"),
    same("describe rolebinding readers"),
    same("describe namespace other"),
    same("events"),
    same("cluster-info"),
    same("get events"),
    same("get namespaces"),
    differs("get --raw /version", MORE),
    same("get --raw /livez"),
    same("get --raw /readyz"),
    differs("version", "each server has a version of its own"),
    // The end.
    same("delete widget unknown"),
    refused("delete widget unknown"),
    same("delete widget unknown --ignore-not-found"),
    same("delete -f map.yaml"),
    same("delete widgets -l app=demo --cascade=foreground"),
    same("get widgets"),
    same("delete -f definition.yaml"),
    refused("get widgets"),
];
