#!/bin/sh
# What administrators script today to escrow a keypair export, as well as it can be written with their tools:
# gpg, bao (or vault) and aws, each used as its manual says. The benchmark measures this program against it.
#
#   peer.sh EXPORT PASSPHRASE_FILE FINGERPRINT NAME
#
# EXPORT           keypair export in the two-block layout
# PASSPHRASE_FILE  opens it
# FINGERPRINT      of the key
# NAME             place below KV_PREFIX and S3_PREFIX; nothing stands there yet
#
# From the environment: BAO (the program), VAULT_ADDR, ROLE_ID_FILE, SECRET_ID_FILE, KV_MOUNT, KV_PREFIX;
# AWS (the program), what it reads itself (endpoint, region, credentials file), S3_BUCKET, S3_PREFIX, LOCK_UNTIL.
set -eu
umask 077
export_file=$1 passphrase_file=$2 fingerprint=$3 name=$4

# Secrets stay in memory; the path of an agent's socket must be short.
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
work=$(mktemp -d "$memory/peer.XXXXXX")
finish() {
  status=$?
  gpgconf --homedir "$work/drill" --kill gpg-agent 2>/dev/null || true
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM
mkdir "$work/seal" "$work/drill"

# 1. Seal it under a fresh passphrase of 256 bits.
head -c 32 /dev/urandom | base64 >"$work/fresh"
gpg --homedir "$work/seal" --batch --quiet --no-tty --pinentry-mode loopback --passphrase-file "$work/fresh" \
  --cipher-algo AES256 --s2k-mode 3 --s2k-digest-algo SHA256 --s2k-count 65011712 \
  --output "$work/sealed.gpg" --symmetric "$export_file"

# 2. Vault: create only, then read back and compare.
VAULT_TOKEN=$("$BAO" write -field=token auth/approle/login "role_id=@$ROLE_ID_FILE" "secret_id=@$SECRET_ID_FILE")
export VAULT_TOKEN
base64 <"$work/sealed.gpg" >"$work/sealed.b64"
"$BAO" kv put -mount="$KV_MOUNT" -cas=0 "$KV_PREFIX/$name" "sealed=@$work/sealed.b64" >/dev/null
"$BAO" kv get -mount="$KV_MOUNT" -field=sealed "$KV_PREFIX/$name" >"$work/vault.b64"
base64 -d "$work/vault.b64" >"$work/vault.gpg"
cmp "$work/sealed.gpg" "$work/vault.gpg"

# 3. S3: create only, checksum and retention, then read exactly that version back and compare.
version=$("$AWS" s3api put-object --bucket "$S3_BUCKET" --key "$S3_PREFIX/$name.gpg" --body "$work/sealed.gpg" \
  --checksum-algorithm SHA256 --if-none-match '*' \
  --object-lock-mode GOVERNANCE --object-lock-retain-until-date "$LOCK_UNTIL" \
  --query VersionId --output text)
"$AWS" s3api get-object --bucket "$S3_BUCKET" --key "$S3_PREFIX/$name.gpg" --version-id "$version" \
  --checksum-mode ENABLED "$work/s3.gpg" >/dev/null
cmp "$work/sealed.gpg" "$work/s3.gpg"

# 4. Test restore of what was read back, in a fresh home.
drill() {
  gpg --homedir "$work/drill" --batch --quiet --no-tty --pinentry-mode loopback --trust-model always "$@"
}
drill --passphrase-file "$work/fresh" --output "$work/restored.asc" --decrypt "$work/s3.gpg"
# The product writes the self-signatures into the public block, which comes second. Imported in one pass the
# primary secret would be missing ("sec#"), so the public block goes first.
sed -n '/^-----BEGIN PGP PUBLIC KEY BLOCK-----/,/^-----END PGP PUBLIC KEY BLOCK-----/p' "$work/restored.asc" |
  drill --import
drill --import "$work/restored.asc"
drill --with-colons --list-secret-keys "$fingerprint" |
  awk -F: '$1 == "sec" && $15 == "+" { found = 1 } END { exit !found }'

head -c 64 /dev/urandom | base64 >"$work/nonce"
drill --passphrase-file "$passphrase_file" --local-user "$fingerprint" --output "$work/nonce.sig" \
  --detach-sign "$work/nonce"
drill --verify "$work/nonce.sig" "$work/nonce" 2>/dev/null
drill --recipient "$fingerprint" --output "$work/nonce.gpg" --encrypt "$work/nonce"
drill --passphrase-file "$passphrase_file" --output "$work/nonce.out" --decrypt "$work/nonce.gpg"
cmp "$work/nonce" "$work/nonce.out"
echo "escrowed $fingerprint as $name, S3 version $version"
