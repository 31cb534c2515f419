#!/bin/sh
# Removes the broker and leaves its state: the definitions, the instances, the key that seals them.
#
#   KUBECTL    default: kubectl
set -eu
cd "$(dirname "$0")"
kubectl=${KUBECTL:-kubectl}

# Namespaces stay: the instances are in them.
$kubectl -n osb-system delete --ignore-not-found deployment,service,networkpolicy,serviceaccount reference-broker
$kubectl delete --ignore-not-found clusterrolebinding,clusterrole reference.osb.internal-broker
echo "The state stays: kubectl get serviceinstances.reference.osb.internal -A"
