#!/bin/sh
# A binding of the instance; prints the names of what its credentials consist of, and not the credentials.
. "$(dirname "$0")/common.sh"

choose
path="/v2/service_instances/$instance/service_bindings/$binding"
call PUT "$path?accepts_incomplete=true" --data "{\"service_id\": \"$service_id\", \"plan_id\": \"$plan_id\"}"
case $code in
200 | 201) ;;
202)
    wait_for "$path"
    call GET "$path"
    [ "$code" = 200 ] || fail "no binding"
    ;;
*) fail "no binding" ;;
esac
names=$(python3 -c 'import json, sys
print(*sorted((json.load(open(sys.argv[1])).get("credentials") or {})))' "$answer")
echo "binding $binding is there: $names"
