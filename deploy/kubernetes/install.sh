#!/bin/sh
# Installs the broker of broker.yaml in a Kubernetes cluster, with the rights of an administrator; run it again to bring it up to date.
#
#   IMAGE      the image of the broker; default: the one in broker.yaml
#   KUBECTL    default: kubectl
#   WAIT       seconds to wait for the pods; 0: not at all; default: 120
#
# What is secret is made once and stays: a login, the key that seals the state, and a certificate.
set -eu
cd "$(dirname "$0")"
kubectl=${KUBECTL:-kubectl}
namespace=osb-system
name=reference-broker

has() { $kubectl -n $namespace get "$@" >/dev/null 2>&1; }
random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
umask 077

has namespace $namespace || $kubectl create namespace $namespace
if ! has secret $name-login; then
    random 24 >"$folder/password"
    $kubectl -n $namespace create secret generic $name-login --type kubernetes.io/basic-auth \
        --from-literal username=platform --from-file password="$folder/password"
fi
if ! has secret $name-keys; then
    random 32 >"$folder/keys"
    $kubectl -n $namespace create secret generic $name-keys --from-file keys="$folder/keys"
    echo "Keep a copy of the Secret $name-keys elsewhere: without it nobody can read the state."
fi
if ! has secret $name-tls; then
    host=$name.$namespace.svc
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$host" \
        -addext "subjectAltName=DNS:$host,DNS:$host.cluster.local,DNS:$name,DNS:$name.$namespace" \
        -keyout "$folder/tls.key" -out "$folder/tls.crt" 2>/dev/null
    $kubectl -n $namespace create secret tls $name-tls --cert "$folder/tls.crt" --key "$folder/tls.key"
fi
$kubectl apply --server-side --force-conflicts --field-manager osb-install -f definitions.yaml
$kubectl wait --for condition=Established --timeout 60s -f definitions.yaml
$kubectl apply --server-side --force-conflicts --field-manager osb-install -f broker.yaml
if [ -n "${IMAGE:-}" ]; then
    $kubectl -n $namespace set image deployment/$name broker="$IMAGE"
fi
if [ "${WAIT:-120}" != 0 ]; then
    $kubectl -n $namespace rollout status deployment/$name --timeout "${WAIT:-120}s"
fi
echo "The broker: https://$name.$namespace.svc, its login: the Secret $name-login in $namespace."
