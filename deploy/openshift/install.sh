#!/bin/sh
# Installs the broker of broker.yaml on OpenShift, with the rights of an administrator, and tells Service Catalog of it where there is
# one; run it again to bring it up to date.
#
#   IMAGE      the image of the broker; default: the one in broker.yaml
#   KUBECTL    default: oc
#   WAIT       seconds to wait for the pods; 0: not at all; default: 120
#
# OpenShift signs the certificate. What is secret besides is made once and stays: a login, and the key that seals the state.
set -eu
cd "$(dirname "$0")"
kubectl=${KUBECTL:-oc}
namespace=osb-system
name=reference-broker
. ../install-common.sh

make_secrets
apply_broker ../kubernetes/definitions.yaml broker.yaml
if $kubectl get crd clusterservicebrokers.servicecatalog.k8s.io >/dev/null 2>&1; then
    apply service-catalog.yaml
fi
finish
