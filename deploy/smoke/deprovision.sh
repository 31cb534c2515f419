#!/bin/sh
# Removes the instance.
. "$(dirname "$0")/common.sh"

choose
path="/v2/service_instances/$instance"
call DELETE "$path?service_id=$service_id&plan_id=$plan_id&accepts_incomplete=true"
case $code in
200 | 410) ;;
202) wait_for "$path" ;;
*) fail "the instance stays" ;;
esac
echo "instance $instance is gone"
