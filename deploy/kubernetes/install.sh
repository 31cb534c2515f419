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
. ../install-common.sh

make_secrets
if ! has secret $name-tls; then
    host=$name.$namespace.svc
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$host" \
        -addext "subjectAltName=DNS:$host,DNS:$host.cluster.local,DNS:$name,DNS:$name.$namespace" \
        -keyout "$folder/tls.key" -out "$folder/tls.crt" 2>/dev/null
    $kubectl -n $namespace create secret tls $name-tls --cert "$folder/tls.crt" --key "$folder/tls.key"
fi
apply_broker definitions.yaml broker.yaml
finish
