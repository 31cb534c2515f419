# Shared by the scripts beside it; they take:
#
#   OSB_URL        the broker, as http://127.0.0.1:8080
#   OSB_USERNAME, OSB_PASSWORD
#   OSB_CACERT     a file with the certificate of its authority, where it has TLS
#   OSB_CURL       more options of curl
#   OSB_SERVICE, OSB_PLAN      names in its catalog; default: the first ones
#   OSB_PARAMETERS             of a provision, as JSON
#   OSB_INSTANCE, OSB_BINDING  ids; default: smoke and smoke-binding
#   OSB_PATIENCE               seconds that an operation may take; default: 300
set -eu

url=${OSB_URL:?the URL of the broker, as http://127.0.0.1:8080}
: "${OSB_USERNAME:?}" "${OSB_PASSWORD:?}"
instance=${OSB_INSTANCE:-smoke}
binding=${OSB_BINDING:-smoke-binding}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# The login goes through a pipe: arguments are seen by everybody on the machine.
call() {
    method=$1 target=$2
    shift 2
    # shellcheck disable=SC2086 # The options are words.
    code=$(
        printf '%s' "$OSB_USERNAME:$OSB_PASSWORD" | sed 's/["\\]/\\&/g; s/.*/user = "&"/' |
            curl --silent --show-error --config - ${OSB_CACERT:+--cacert "$OSB_CACERT"} ${OSB_CURL:-} --max-time 90 \
                --request "$method" --header 'X-Broker-API-Version: 2.17' --header 'Content-Type: application/json' \
                --output "$answer" --write-out '%{http_code}' "$@" "$url$target"
    )
}

fail() {
    echo "$* (HTTP $code):" >&2
    cat "$answer" >&2
    echo >&2
    exit 1
}

# The member of a JSON object, by its path.
member() {
    python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for name in sys.argv[2:]:
    value = value[int(name)] if isinstance(value, list) else value.get(name)
    if value is None: break
print("" if value is None else value)' "$answer" "$@"
}

# Sets service_id and plan_id.
choose() {
    call GET /v2/catalog
    [ "$code" = 200 ] || fail "no catalog"
    chosen=$(python3 -c 'import json, sys
services = json.load(open(sys.argv[1]))["services"]
service = next((s for s in services if sys.argv[2] in ("", s["name"])), None)
plan = service and next((p for p in service["plans"] if sys.argv[3] in ("", p["name"])), None)
print(service["id"], plan["id"]) if plan else sys.exit("the catalog has no such service and plan")' \
        "$answer" "${OSB_SERVICE:-}" "${OSB_PLAN:-}")
    service_id=${chosen% *} plan_id=${chosen#* }
}

# Waits for the operation that the last answer began, at the path of its resource, which a removal ends without.
wait_for() {
    resource=$1
    operation=$(member operation)
    query="service_id=$service_id&plan_id=$plan_id${operation:+&operation=$operation}"
    end=$(($(date +%s) + ${OSB_PATIENCE:-300}))
    while :; do
        call GET "$resource/last_operation?$query"
        [ "$code" = 410 ] && return
        [ "$code" = 200 ] || fail "no last operation"
        case $(member state) in
        succeeded) return ;;
        failed) fail "it failed" ;;
        esac
        [ "$(date +%s)" -lt $end ] || fail "it takes too long"
        sleep 1
    done
}
