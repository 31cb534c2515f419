# What both install.sh have in common: to be sourced, with $kubectl, $namespace and $name set.
set -eu

# What is secret is made in there, and goes with it.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
umask 077

has() { $kubectl -n "$namespace" get "$@" >/dev/null 2>&1; }
random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
apply() { $kubectl apply --server-side --force-conflicts --field-manager osb-install -f "$1"; }

# The namespace, the login and the key that seals the state, where they are not there.
make_secrets() {
    has namespace "$namespace" || $kubectl create namespace "$namespace"
    if ! has secret "$name-login"; then
        random 24 >"$folder/password"
        $kubectl -n "$namespace" create secret generic "$name-login" --type kubernetes.io/basic-auth \
            --from-literal username=platform --from-file password="$folder/password"
    fi
    if ! has secret "$name-keys"; then
        random 32 >"$folder/keys"
        $kubectl -n "$namespace" create secret generic "$name-keys" --from-file keys="$folder/keys"
        echo "Keep a copy of the Secret $name-keys elsewhere: without it nobody can read the state."
    fi
}

# The definitions, in that file, then the broker, in that one, with the image of $IMAGE.
apply_broker() {
    apply "$1"
    $kubectl wait --for condition=Established --timeout 60s -f "$1"
    apply "$2"
    if [ -n "${IMAGE:-}" ]; then
        $kubectl -n "$namespace" set image "deployment/$name" broker="$IMAGE"
    fi
}

# Waits for the pods as $WAIT says, and tells where the broker is.
finish() {
    if [ "${WAIT:-120}" != 0 ]; then
        $kubectl -n "$namespace" rollout status "deployment/$name" --timeout "${WAIT:-120}s"
    fi
    echo "The broker: https://$name.$namespace.svc, its login: the Secret $name-login in $namespace."
}
