"""Create, read, change, watch and delete with Python's client of Kubernetes; prints what came back."""

import json

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

NAMESPACE = "python"


def say(what, value):
    """Prints a line, without what is each server's own."""
    print(what, json.dumps(clean(value), sort_keys=True))


def clean(value):
    own = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "deletionTimestamp", "time"}
    if isinstance(value, dict):
        return {name: clean(member) for name, member in value.items() if name not in own}
    if isinstance(value, list):
        return [clean(member) for member in value]
    return value


def refused(what, call):
    try:
        call()
        say(what, "not refused")
    except ApiException as error:
        status = json.loads(error.body)
        say(what, {name: status.get(name) for name in ("code", "reason", "message")})


def maps(api):
    """ConfigMaps, through the typed client."""
    core = client.CoreV1Api(api)
    plain = api.sanitize_for_serialization
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a", labels={"l": "1"}), data={"k": "v"})
    say("created", plain(core.create_namespaced_config_map(NAMESPACE, body)))
    refused("created again", lambda: core.create_namespaced_config_map(NAMESPACE, body))
    found = core.list_namespaced_config_map(NAMESPACE, label_selector="l=1")
    say("listed", [plain(item) for item in found.items])
    # Everything from here on is seen by the watch.
    since = found.metadata.resource_version
    body = core.read_namespaced_config_map("a", NAMESPACE)
    body.data = {"k": "w"}
    say("replaced", plain(core.replace_namespaced_config_map("a", NAMESPACE, body)))
    refused("replaced an old one", lambda: core.replace_namespaced_config_map("a", NAMESPACE, body))
    patched = core.patch_namespaced_config_map("a", NAMESPACE, {"data": {"k": None, "n": "x"}}, _content_type="application/merge-patch+json")
    say("patched", plain(patched))
    operations = [{"op": "add", "path": "/data/o", "value": "y"}]
    patched = core.patch_namespaced_config_map("a", NAMESPACE, operations, _content_type="application/json-patch+json")
    say("patched by operations", plain(patched))
    say("deleted", plain(core.delete_namespaced_config_map("a", NAMESPACE)))
    refused("read the deleted one", lambda: core.read_namespaced_config_map("a", NAMESPACE))
    stream = watch.Watch()
    for event in stream.stream(core.list_namespaced_config_map, NAMESPACE, resource_version=since, label_selector="l=1", timeout_seconds=30):
        say("saw " + event["type"], event["raw_object"])
        if event["type"] == "DELETED":
            stream.stop()


def widgets(api):
    """Custom resources, as dictionaries."""
    extensions = client.ApiextensionsV1Api(api)
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "maximum": 10}}}}}
    extensions.create_custom_resource_definition({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.python.example.com"},
        "spec": {
            "group": "python.example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    })
    stream = watch.Watch()
    for event in stream.stream(extensions.list_custom_resource_definition, field_selector="metadata.name=widgets.python.example.com", timeout_seconds=60):
        conditions = event["raw_object"].get("status", {}).get("conditions") or []
        if any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions):
            stream.stop()
    custom = client.CustomObjectsApi(api)
    place = ("python.example.com", "v1", NAMESPACE, "widgets")
    body = {"apiVersion": "python.example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
    say("created", custom.create_namespaced_custom_object(*place, body))
    say("patched", custom.patch_namespaced_custom_object(*place, "w", {"spec": {"size": 4}}, _content_type="application/merge-patch+json"))
    refused("too large", lambda: custom.patch_namespaced_custom_object(*place, "w", {"spec": {"size": 40}}, _content_type="application/merge-patch+json"))
    say("listed", custom.list_namespaced_custom_object(*place)["items"])
    say("deleted", custom.delete_namespaced_custom_object(*place, "w"))


def main():
    api = config.new_client_from_config()
    maps(api)
    widgets(api)
    core = client.CoreV1Api(api)
    say("namespace", core.delete_namespace(NAMESPACE).kind)
    say("version", client.VersionApi(api).get_code().major)


main()
