#!/bin/sh
# The whole life of an instance and a binding.
set -eu
here=$(dirname "$0")
for step in catalog provision bind unbind deprovision; do
    "$here/$step.sh"
done
