#!/bin/sh
# Writes the documents beside it anew: the life of one repository, by Debian's notary 0.7.0 against its own
# server. The names are ROLE-VERSION.json, with `+` for `/`. Needs notary, notary-server, openssl, curl, jq.
set -eu
cd "$(dirname "$0")"
here=$(pwd)
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
port=34443

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout server.key \
    -out server.crt -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1
for name in alice rsa; do
    kind=rsa:2048
    [ "$name" = rsa ] || kind="ec -pkeyopt ec_paramgen_curve:prime256v1"
    # shellcheck disable=SC2086 # two words
    openssl req -x509 -newkey $kind -nodes -days 3650 -keyout "$name.key" -out "$name.crt" -subj "/CN=$name"
done
openssl ec -in alice.key -out alice.sec1
printf '{"server":{"http_addr":"127.0.0.1:%s","tls_key_file":"server.key","tls_cert_file":"server.crt"},
"trust_service":{"type":"local"},"storage":{"backend":"memory"},"logging":{"level":"error"}}' "$port" >config.json
notary-server -config="$work/config.json" & server=$!
sleep 2

export NOTARY_ROOT_PASSPHRASE=rootpass12 NOTARY_TARGETS_PASSPHRASE=targpass12
export NOTARY_SNAPSHOT_PASSPHRASE=snappass12 NOTARY_DELEGATION_PASSPHRASE=delgpass12
gun=registry.example.com/team/app
digest=$(printf x | sha256sum | cut -d' ' -f1)
n() { notary -s "https://127.0.0.1:$port" --tlscacert server.crt -d trust "$@" >/dev/null; keep; }
keep() {
    for role in root snapshot timestamp targets targets/releases targets/alice targets/alice/phone; do
        curl -sf --cacert server.crt -o now "https://127.0.0.1:$port/v2/$gun/_trust/tuf/$role.json" || continue
        cp now "$here/$(echo "$role" | tr / +)-$(jq .signed.version now).json"
    done
}

rm -f "$here"/*.json
printf '{"a":"\303\251","b":[1,true,null]}' >custom.json
n init "$gun"
n addhash "$gun" v1 18 --sha256 "$digest"
n addhash -p "$gun" 'odd <&> é tag' 1 --sha256 "$digest" --custom custom.json
n key import alice.sec1 --role alice
n delegation add "$gun" targets/releases alice.crt rsa.crt --all-paths
n delegation add -p "$gun" targets/alice alice.crt --paths 'v,odd <&>'
n addhash -p "$gun" v2 99 --sha256 "$digest" --roles targets/releases,targets/alice
n delegation add -p "$gun" targets/alice/phone alice.crt --paths v2
n key rotate "$gun" snapshot -r
n addhash -p "$gun" v22 99 --sha256 "$digest" --roles targets/alice,targets/alice/phone
echo yes | n key rotate "$gun" root
n key rotate "$gun" targets
n key rotate "$gun" snapshot
n delegation remove -y -p "$gun" targets/alice
n delegation add -p "$gun" targets/alice alice.crt --all-paths
n remove -p "$gun" v1
n publish "$gun"
