#!/usr/bin/env bash
# Writes the key files beside it, anew and at random. Needs openssl, and Debian's notary and docker:
#
#   source .ci/peers && bash keys-schema/tests/data/notary-keys/make.sh
#
# The tests compare the files with each other, so that a new run needs no change of a test.
set -euo pipefail
cd "$(dirname "$0")"
rm -f ./*.pem
passphrase='correct horse'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
notary() { "$BULLA_PEERS_DEBIAN/bookworm/usr/bin/notary" -d "$work/notary" "$@" >/dev/null; }
export NOTARY_ROOT_PASSPHRASE=$passphrase NOTARY_TARGETS_PASSPHRASE=$passphrase
export NOTARY_DELEGATION_PASSPHRASE=$passphrase DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=$passphrase

# notary: a root key, whose id an export writes into it; a key of a repository; a signer's key in two files.
notary key generate ecdsa
notary key export -o "$PWD/notary-root-exported.pem"
cp "$work"/notary/private/*.key notary-root.pem
notary key generate ecdsa -r bob -o "$work/bob"
cp "$work/bob-key.pem" notary-bob.pem && cp "$work/bob.pem" notary-bob.public.pem
rm -r "$work/notary/private"
sed 's/^-----BEGIN PRIVATE KEY-----$/&\nrole: targets\ngun: localhost:15000\/demo\/app\n/' ../keys/p256-secret.pem >"$work/gun"
notary key import -r targets -g localhost:15000/demo/app "$work/gun"
cp "$work"/notary/private/*.key notary-targets.pem

# docker: a signer's key, with the public half for the admin.
(cd "$work" && DOCKER_CONFIG=$work "$BULLA_PEERS_DEBIAN/trixie/usr/bin/docker" trust key generate carol >/dev/null)
cp "$work"/trust/private/*.key docker-carol.pem && cp "$work/carol.pub" docker-carol.public.pem

# openssl: one key in every form.
key=../keys/p256-secret.pem
pbes2() { openssl pkcs8 -topk8 -in "$1" -passout "pass:$passphrase" -out "openssl-$2.pem" "${@:3}"; }
pbes2 $key pbes2-sha1-aes256 -v2 aes-256-cbc -v2prf hmacWithSHA1
pbes2 $key pbes2-sha256-aes192 -v2 aes-192-cbc
pbes2 $key pbes2-sha512-aes128 -v2 aes-128-cbc -v2prf hmacWithSHA512 -iter 210000
pbes2 ../keys/ed25519-secret.pem pbes2-ed25519 -v2 aes-256-cbc
pbes2 ../keys/p384-secret.pem pbes2-p384 -v2 aes-256-cbc
pbes2 ../keys/rsa-2048-secret.pem pbes2-rsa -v2 aes-256-cbc
pbes2 $key pbes2-des3 -v2 des3
pbes2 $key pbes2-sha384 -v2 aes-256-cbc -v2prf hmacWithSHA384
pbes2 $key pbes2-scrypt -scrypt
pbes2 $key pkcs12-des3 -v1 PBE-SHA1-3DES
sec1() { openssl ec -in "$1" -out "openssl-$2.pem" -passout "pass:$passphrase" "${@:3}" 2>/dev/null; }
sec1 $key sec1
for bits in 128 192 256; do sec1 $key "sec1-aes$bits" "-aes$bits"; done
sec1 $key sec1-des3 -des3
sec1 ../keys/p384-secret.pem sec1-p384
sec1 ../keys/p384-secret.pem sec1-p384-aes256 -aes256
openssl rsa -traditional -in ../keys/rsa-2048-secret.pem -out openssl-rsa.pem 2>/dev/null
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out openssl-rsa-1024.pem 2>/dev/null
{ printf -- '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n' && cat openssl-sec1.pem; } >openssl-ecparam.pem
