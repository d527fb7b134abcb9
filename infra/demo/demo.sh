#!/bin/sh
# The whole story with a throwaway key, on real servers that it starts itself, in a directory of its own: a
# (stand-in) PGP Encryption Server is set up, its Org Key escrowed, the server destroyed, and brought back.
# With KEEP=1 the directory stays, with the report in it. VENV names another environment than .venv, one that is
# ready. `make transcript` puts what is printed into docs/demo.md.
set -eu
cd "$(dirname "$0")/../.."
PATH="${VENV:-$PWD/.venv}/bin:$PATH"
export PATH
# What the packages do not bring is built while they are fetched, where Go is at hand.
begun=$(date +%s)
builder=
if [ -z "${VENV:-}" ] && [ ! -e .venv/.ready ] && command -v go >/dev/null; then
  "${PYTHON:-python3}" -m pipeline.devstack.build &
  builder=$!
fi
trap '[ -z "$builder" ] || kill "$builder" 2>/dev/null' EXIT
trap 'exit 130' INT TERM
[ -n "${VENV:-}" ] || "${MAKE:-make}" setup
times="$(($(date +%s) - begun)) s  Python's packages"
# Nothing of the operator's own estate is touched.
for name in $(env | sed -n 's/^\(VAULT_[A-Za-z0-9_]*\|BAO_[A-Za-z0-9_]*\|AWS_[A-Za-z0-9_]*\|ORGKEY_CONFIG\|ORGKEY_STATE_DIR\|ORGKEY_LAB_DIR\)=.*/\1/p'); do
  unset "$name"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/orgkey-demo.XXXXXX")
ORGKEY_STACK_DIR="$work/stack"
ORGKEY_STATE_DIR="$work/state"
ORGKEY_CONFIG="$work/orgkey.toml"
ORGKEY_LAB_DIR="$work/server"
export ORGKEY_STACK_DIR ORGKEY_STATE_DIR ORGKEY_CONFIG ORGKEY_LAB_DIR
finish() {
  status=$?
  for server in "$work"/server*; do
    [ ! -e "$server/server.json" ] || orgkey lab reboot --dir "$server" >/dev/null 2>&1 || true
  done
  [ -z "$builder" ] || kill "$builder" 2>/dev/null || true
  wipe=--wipe
  [ -z "${KEEP:-}" ] || wipe=
  [ ! -e "$ORGKEY_STACK_DIR" ] || orgkey stack down $wipe >/dev/null 2>&1 || echo "the stack in $ORGKEY_STACK_DIR could not be stopped" >&2
  if [ -n "$wipe" ]; then
    rm -rf "$work"
  else
    printf 'kept: %s\nlook at the report in a browser: %s/report/report.html\n' "$work" "$work"
  fi
  exit "$status"
}
trap finish EXIT

step() {
  took
  title=$1
  printf '\n\033[1m== %s\033[0m\n' "$1"
}
# Where the time goes is told at the end.
took() {
  now=$(date +%s)
  [ -z "$title" ] || times="$times
$((now - before)) s  $title"
  before=$now
}
title=
run() {
  for word; do
    case $word in
    *[!A-Za-z0-9_./:=@+-]*) printf " '%s'" "$word" ;;
    *) printf ' %s' "$word" ;;
    esac
  done | sed "s#^#\$#; s#$work/##g"
  echo
  "$@"
}
write() { (umask 077 && printf '%s\n' "$2" >"$work/$1"); }

write ignition 'what the administrator types at every boot'
write export-passphrase 'correct horse battery staple'
write new-passphrase 'a passphrase that the operator chose'

step "1. A stand-in for a PGP Encryption Server: its Org Key, its users, its backup"
run orgkey lab setup acme.example --ignition-passphrase-file "$work/ignition"
run orgkey lab user add "Ada Lovelace" ada@acme.example
run orgkey lab user add "Grace Hopper" grace@acme.example
run orgkey lab backup --content random --size 20000000 --container tar.gz --to "$work/backups"
run orgkey lab export keypair --out "$work" --export-passphrase-file "$work/export-passphrase"
export_file=$(ls "$work"/0x*.asc)

step "2. Start OpenBao (Vault's API), versitygw (S3) and a KMS emulation on this host"
run orgkey stack up

step "3. Look at the keypair export: what is it, and would a server restore with it?"
run orgkey inspect "$export_file" --export-passphrase-file "$work/export-passphrase"
fingerprint=$(orgkey inspect "$export_file" --json | sed -n 's/^  "fingerprint": "\([0-9A-F]*\)",$/\1/p')
run orgkey stack config --out "$ORGKEY_CONFIG" --fingerprint "$fingerprint"
printf '\n[backups.nightly]\nlocation = "%s"\n' "$work/backups" >>"$ORGKEY_CONFIG"

step "4. Escrow it: re-wrap, seal, write everywhere, read back, restore from the copies, prove"
run orgkey escrow "$export_file" --export-passphrase-file "$work/export-passphrase"

step "5. Is it good enough, and does the escrowed key open the server's backups?"
run orgkey status
run orgkey backups verify

step "6. The disaster: the server is gone, and so are the export and everybody's passphrases"
run orgkey lab reboot
run rm -rf "$ORGKEY_LAB_DIR" "$export_file" "$work/export-passphrase" "$work/ignition"

backup=$(ls "$work"/backups/*.pgp)
step "7. Get the key back from the Vault copy, and the server from its backup"
run orgkey restore --from vault --out "$work/from-vault.asc" --new-passphrase-file "$work/new-passphrase"
ORGKEY_LAB_DIR="$work/server-from-vault"
run orgkey lab restore "$backup" --keypair "$work/from-vault.asc" --export-passphrase-file "$work/new-passphrase"
run orgkey lab user list

step "8. The same once more from the S3 copy"
run orgkey restore --from s3 --out "$work/from-s3.asc" --new-passphrase-file "$work/new-passphrase"
ORGKEY_LAB_DIR="$work/server-from-s3"
run orgkey lab restore "$backup" --keypair "$work/from-s3.asc" --export-passphrase-file "$work/new-passphrase"
run orgkey lab user list

step "9. It is switched on again, and the ignition passphrase is lost: the Org Key is the way in"
run orgkey lab reboot
run orgkey lab boot --keypair "$work/from-s3.asc" --export-passphrase-file "$work/new-passphrase"

step "10. What an auditor gets: a report with its evidence, and a page that says how to check it"
run orgkey report --bundle "$work/report"
took
printf '\nDone. The server is back: its users are signed by its key, and it boots.\n'
printf '\nIt took %s s:\n%s\n' "$(($(date +%s) - begun))" "$times" | sed 's/^\([0-9]* s  \)/  \1/'
