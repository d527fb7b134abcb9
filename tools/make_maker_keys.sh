#!/bin/sh
# Makes the throwaway keys under tests/assets/keys/makers, each with another program. Run as root on Debian, with
# debootstrap, node and npm; the programs are those of Debian 13 and of npm:  sh tools/make_maker_keys.sh
# Every key exists to be published: nothing real is ever protected by them.
set -eu
out=$(cd "$(dirname "$0")/../tests/assets/keys/makers" && pwd)
work=$(mktemp -d)
word='correct horse battery staple'
debootstrap --variant=minbase --include=gnupg,sqop,gosop,rnp,sq,pgpainless-cli trixie "$work/trixie"
inside() { chroot "$work/trixie" "$@"; }
printf '%s' "$word" >"$work/trixie/tmp/word"

gnupg() { # name, primary algorithm, subkey's algorithm
  rm -rf "$work/trixie/tmp/home" && mkdir -m 700 "$work/trixie/tmp/home"
  set -- "$1" "$2" "$3" gpg --homedir /tmp/home --batch --yes --no-tty --quiet \
    --faked-system-time '20250101T120000!' --pinentry-mode loopback --passphrase-file /tmp/word
  name=$1 primary=$2 subkey=$3
  shift 3
  inside "$@" --quick-generate-key "GnuPG 2.4 $name <key@example.com>" "$primary" cert,sign 30y
  print=$(inside "$@" --with-colons --list-keys | awk -F: '/^fpr/ { print $10; exit }')
  inside "$@" --quick-add-key "$print" "$subkey" encr 30y
  inside "$@" --armor --export-secret-keys "$print" >"$out/gnupg24-$name.asc"
  inside gpgconf --homedir /tmp/home --kill all
}
gnupg ed25519 ed25519 cv25519
gnupg nistp256 nistp256 nistp256
gnupg nistp521 nistp521 nistp521
gnupg brainpoolp256 brainpoolP256r1 brainpoolP256r1

inside sqop generate-key --with-key-password /tmp/word "sqop <key@example.com>" >"$out/sqop-ed25519.asc"
inside gosop generate-key --with-key-password /tmp/word "gosop <key@example.com>" >"$out/gosop-ed25519.asc"
inside pgpainless-cli generate-key --with-key-password /tmp/word "PGPainless <key@example.com>" \
  >"$out/pgpainless-ed25519.asc"
inside pgpainless-cli generate-key --profile rfc4880 --with-key-password /tmp/word \
  "PGPainless <key@example.com>" >"$out/pgpainless-rsa4096.asc"
inside sq --home /tmp/sq key generate --own-key --name sq --email sq@example.com --expiration 30y \
  --cipher-suite cv25519 --new-password-file /tmp/word --output /tmp/sq.pgp --rev-cert /tmp/sq.rev
cp "$work/trixie/tmp/sq.pgp" "$out/sq-ed25519.asc"
mkdir "$work/trixie/tmp/rnp"
inside rnpkeys --homedir /tmp/rnp --generate-key --userid "RNP <key@example.com>" --expiration 0 --password "$word"
inside rnpkeys --homedir /tmp/rnp --export-key --secret RNP >"$out/rnp-rsa3072.asc"

mkdir "$work/js"
cd "$work/js"
npm init -y >/dev/null
npm install --silent openpgp5@npm:openpgp@5 openpgp6@npm:openpgp@6
cat >make.mjs <<'JS'
import fs from "fs";
import * as v5 from "openpgp5";
import * as v6 from "openpgp6";
const [, , out, passphrase] = process.argv;
const common = { userIDs: [{ name: "OpenPGP.js", email: "key@example.com" }], passphrase,
  date: new Date("2025-01-01T12:00:00Z"), format: "armored" };
async function make(library, name, kind) {
  const { privateKey } = await library.generateKey({ ...common, ...kind });
  fs.writeFileSync(`${out}/${name}.asc`, privateKey);
}
await make(v5, "openpgpjs5-ed25519", { type: "ecc", curve: "curve25519" });
await make(v5, "openpgpjs5-nistp384", { type: "ecc", curve: "p384" });
await make(v6, "openpgpjs6-rsa2048", { type: "rsa", rsaBits: 2048 });
await make(v6, "openpgpjs6-ed25519", { type: "ecc", curve: "ed25519Legacy" });
await make(v6, "openpgpjs6-nistp256", { type: "ecc", curve: "nistP256" });
await make(v6, "openpgpjs6-curve25519", { type: "curve25519" });
JS
node make.mjs "$out" "$word"
cd "$out/../../../.."
python3 -m tools.make_pgpy keys
rm -rf "$work"
