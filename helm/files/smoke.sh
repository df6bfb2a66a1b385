# The smoke test of `helm test`, for busybox: a stranger is refused; one user makes a conversation, sends a message and reads it back.
# SMOKE_URL is where clients connect. The user's token is /run/secrets/smoke/token, or is made with the secret of HS256 tokens,
# /run/secrets/smoke/jwt-secret; SMOKE_SECRETS names another folder. It says the same few words each time it runs, in one
# conversation, so it leaves no more behind than one message a run.
set -eu
secrets=${SMOKE_SECRETS:-/run/secrets/smoke}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
attempts=20

say() { echo "smoke: $*"; }
fail() { say "FAILED: $*"; exit 1; }

# --- Tokens: HMAC-SHA-256 with nothing but sha256sum ------------------------------------------------------------------

unpadded_url() { base64 | tr -d '=\n' | tr '/+' '_-'; }
hex() { od -An -v -tx1 | tr -d ' \n'; }
# Writes the bytes that a text of hexadecimal digits means.
bytes() {
    rest=$1
    while [ -n "$rest" ]; do
        tail=${rest#??}
        # shellcheck disable=SC2059
        printf "\\$(printf %03o "0x${rest%"$tail"}")"
        rest=$tail
    done
}
# The key, padded to 64 bytes, each byte xor $2.
pad() {
    left=$1 out='' count=0
    while [ "$count" -lt 64 ]; do
        after=${left#??}
        byte=${left%"$after"}
        out=$out$(printf %02x $((0x${byte:-0} ^ $2)))
        left=$after count=$((count + 1))
    done
    printf %s "$out"
}
hmac() { # KEY-FILE, text on standard input; the digest in hex
    key=$(printf %s "$(cat "$1")" | hex)
    [ ${#key} -le 128 ] || key=$(printf %s "$(cat "$1")" | sha256sum | cut -d' ' -f1)
    inner=$({ bytes "$(pad "$key" 54)"; cat; } | sha256sum | cut -d' ' -f1)
    { bytes "$(pad "$key" 92)"; bytes "$inner"; } | sha256sum | cut -d' ' -f1
}
make_token() { # USER
    claims="{\"sub\":\"$1\",\"exp\":$(($(date +%s) + 300))"
    [ -z "${SMOKE_ISSUER:-}" ] || claims="$claims,\"iss\":\"$SMOKE_ISSUER\""
    [ -z "${SMOKE_AUDIENCE:-}" ] || claims="$claims,\"aud\":\"$SMOKE_AUDIENCE\""
    signed=$(printf %s '{"alg":"HS256","typ":"JWT"}' | unpadded_url).$(printf %s "$claims}" | unpadded_url)
    printf '%s.%s' "$signed" "$(bytes "$(printf %s "$signed" | hmac "$secrets/jwt-secret")" | unpadded_url)"
}

# --- Requests ---------------------------------------------------------------------------------------------------------

# Answer in $work/answer, status in `status`: ask PATH [BODY]
ask() {
    set -- "$SMOKE_URL$1" ${2:+--post-data="$2"}
    [ -z "${token:-}" ] || set -- --header="Authorization: Bearer $token" "$@"
    timeout 10 wget -q -S -O "$work/answer" --header='Content-Type: application/json' "$@" 2>"$work/said" || true
    status=$(sed -n 's|.*HTTP/1\.[01] \([0-9][0-9]*\).*|\1|p' "$work/said" | tail -n 1)
}
# The same, until the status is one of $1 (a router may have no table yet): insist "201 409" PATH [BODY]
insist() {
    wanted=$1 tried=0
    shift
    while :; do
        ask "$@"
        case " $wanted " in *" ${status:-none} "*) return ;; esac
        tried=$((tried + 1))
        [ "$tried" -lt "$attempts" ] || fail "$1 answered ${status:-nothing}, not $wanted: $(tail -n 2 "$work/said")"
        sleep 1
    done
}

token=''
insist 401 /v1/conversations
say "a stranger is refused"
if [ -s "$secrets/token" ]; then
    token=$(cat "$secrets/token")
elif [ -s "$secrets/jwt-secret" ]; then
    token=$(make_token smoke-test)
else
    say "no token and no secret to make one with: the rest is left out (smoke.existingTokenSecret)"
    exit 0
fi

# A name of its own: another user cannot have taken it.
claims=$(printf '%s===' "$(printf %s "$token" | cut -d. -f2 | tr '_-' '/+')" | base64 -d 2>/dev/null || true)
name=smoke-test.$(printf %s "$claims" | sed -n 's/.*"sub" *: *"\([^"]*\)".*/\1/p')
insist "200 201 409" /v1/conversations "{\"name\":\"$name\",\"participants\":[\"smoke-test\"]}"
words="smoke $(date +%s) $$"
insist 201 "/v1/conversations/$name/messages" "{\"text\":\"$words\"}"
say "a message is accepted"
insist 200 "/v1/conversations/$name/messages?limit=1"
grep -q "$words" "$work/answer" || fail "the message is not in the history: $(cat "$work/answer")"
say "and read back"
say "passed"
