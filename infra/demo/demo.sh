#!/bin/sh
# The whole job against real servers that it starts itself, with a throwaway key, in a directory of its own.
set -eu
cd "$(dirname "$0")/../.."
PATH="$PWD/.venv/bin:$PATH"
export PATH
# Nothing of the operator's own estate is touched.
for name in $(env | sed -n 's/^\(VAULT_[A-Za-z0-9_]*\|BAO_[A-Za-z0-9_]*\|AWS_[A-Za-z0-9_]*\|ORGKEY_CONFIG\|ORGKEY_STATE_DIR\)=.*/\1/p'); do
  unset "$name"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/orgkey-demo.XXXXXX")
ORGKEY_STACK_DIR="$work/stack"
ORGKEY_STATE_DIR="$work/state"
ORGKEY_CONFIG="$work/orgkey.toml"
GNUPGHOME="$work/gnupg"
export ORGKEY_STACK_DIR ORGKEY_STATE_DIR ORGKEY_CONFIG GNUPGHOME
finish() {
  status=$?
  orgkey stack down --wipe >/dev/null 2>&1 || echo "the stack in $ORGKEY_STACK_DIR could not be stopped" >&2
  gpgconf --kill gpg-agent >/dev/null 2>&1 || true
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

step() { printf '\n\033[1m== %s\033[0m\n' "$1"; }
run() { printf '$ %s\n' "$*" | sed "s#$work/##g"; "$@"; }

export_file="$work/0x-export.asc"
(umask 077 && cat tests/assets/keys/rsa4096-two-block.asc >"$export_file")
(umask 077 && printf 'correct horse battery staple\n' >"$work/export-passphrase")
(umask 077 && printf 'a passphrase that the operator chose\n' >"$work/new-passphrase")

step "1. Start OpenBao (Vault's API), versitygw (S3) and a KMS emulation on this host"
run orgkey stack up
step "2. Look at the keypair export: what is it, and would a server restore with it?"
run orgkey inspect "$export_file" --export-passphrase-file "$work/export-passphrase"
fingerprint=$(orgkey inspect "$export_file" --json | sed -n 's/^  "fingerprint": "\([0-9A-F]*\)",$/\1/p')
run orgkey stack config --out "$ORGKEY_CONFIG" --fingerprint "$fingerprint"
step "3. Escrow it: re-wrap, seal, write everywhere, read back, restore from the copies, prove"
run orgkey escrow "$export_file" --export-passphrase-file "$work/export-passphrase"
step "4. What is stored now, and is it good enough?"
run orgkey list
run orgkey status
step "5. The disaster: get the key back from the S3 copy, and import it into GnuPG in one pass"
run orgkey restore --from s3 --out "$work/restored.asc" --new-passphrase-file "$work/new-passphrase"
mkdir -m 700 "$GNUPGHOME"
run gpg --batch --quiet --pinentry-mode loopback --passphrase-file "$work/new-passphrase" --import "$work/restored.asc"
run gpg --batch --with-colons --list-secret-keys "$fingerprint" | grep -E '^\$|^sec:'
printf '\nDone. The key is back, "sec" and not "sec#": it signs, certifies and decrypts.\n'
