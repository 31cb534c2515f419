#!/bin/sh
# An instance.
. "$(dirname "$0")/common.sh"

choose
call PUT "/v2/service_instances/$instance?accepts_incomplete=true" --data "{
    \"service_id\": \"$service_id\", \"plan_id\": \"$plan_id\",
    \"organization_guid\": \"smoke\", \"space_guid\": \"smoke\",
    \"parameters\": ${OSB_PARAMETERS:-{\}}
}"
case $code in
200 | 201) ;;
202) wait_for "/v2/service_instances/$instance" ;;
*) fail "no instance" ;;
esac
echo "instance $instance is there"
