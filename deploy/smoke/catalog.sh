#!/bin/sh
# What the broker sells.
. "$(dirname "$0")/common.sh"

call GET /v2/catalog
[ "$code" = 200 ] || fail "no catalog"
python3 -c 'import json, sys
for service in json.load(open(sys.argv[1]))["services"]:
    for plan in service["plans"]:
        print(service["name"], plan["name"])' "$answer"
