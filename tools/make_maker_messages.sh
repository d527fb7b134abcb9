#!/bin/sh
# Makes the small messages under tests/assets/messages/makers, each with another program, encrypted to one of two
# keys of tests/assets/keys: `-binary` to ed25519, everything else to rsa2048. Run as root on Debian, with debootstrap,
# node and npm, where this project is installed:  sh tools/make_maker_messages.sh
set -eu
here=$(cd "$(dirname "$0")/../tests/assets" && pwd)
out=$here/messages/makers
mkdir -p "$out"
work=$(mktemp -d)
root=$work/trixie
debootstrap --variant=minbase --include=gnupg,sqop,gosop,rnp,sq,pgpainless-cli trixie "$root"
inside() { chroot "$root" "$@"; }
cp "$here/keys/rsa2048-unprotected.asc" "$root/tmp/rsa.asc"
cp "$here/keys/ed25519-unprotected.asc" "$root/tmp/ecc.asc"
for number in $(seq 0 39); do echo "user $number has a key"; done >"$root/tmp/text"

rsa='' ecc=''
mkdir -m 700 "$root/tmp/gpg" "$root/tmp/rnp"
gnupg() {
  inside gpg --homedir /tmp/gpg --batch --yes --no-tty --quiet --trust-model always --output - "$@"
}
for key in rsa ecc; do
  inside sqop extract-cert <"$root/tmp/$key.asc" >"$root/tmp/$key.cert"
  gnupg --import "/tmp/$key.asc"
  inside rnpkeys --homedir /tmp/rnp --import "/tmp/$key.asc" >"$work/said" 2>&1
  print=$(gnupg --with-colons --show-keys "/tmp/$key.cert" | awk -F: '/^fpr/ { print $10; exit }')
  eval "$key=$print"
done

for program in sqop gosop pgpainless; do
  command=$program
  [ $program = pgpainless ] && command=pgpainless-cli
  inside $command encrypt --no-armor /tmp/ecc.cert <"$root/tmp/text" >"$out/$program-binary.pgp"
  inside $command encrypt --as text --sign-with /tmp/rsa.asc /tmp/rsa.cert <"$root/tmp/text" >"$out/$program-signed.asc"
done
sq() { inside sq --home none --quiet encrypt --output - "$@" /tmp/text; }
sq --binary --without-signature --for-file /tmp/ecc.cert >"$out/sq-binary.pgp"
sq --signer-file /tmp/rsa.asc --for-file /tmp/rsa.cert >"$out/sq-signed.asc"
rnp() { inside rnp --homedir /tmp/rnp --password '' --output - --encrypt "$@" /tmp/text; }
rnp -r "$ecc" >"$out/rnp-binary.pgp"
rnp -r "$rsa" --bzip2 -z 6 >"$out/rnp-bzip2.pgp"
rnp -r "$rsa" --sign -u "$rsa" --armor >"$out/rnp-signed.asc"
gnupg --recipient "$ecc" --encrypt /tmp/text >"$out/gnupg24-binary.pgp"
gnupg --recipient "$rsa" --compress-algo bzip2 --encrypt /tmp/text >"$out/gnupg24-bzip2.pgp"
gnupg --hidden-recipient "$rsa" --encrypt /tmp/text >"$out/gnupg24-hidden.pgp"
gnupg --recipient "$rsa" --local-user "$rsa" --armor --sign --encrypt /tmp/text >"$out/gnupg24-signed.asc"
gnupg --recipient "$rsa" --local-user "$rsa" --force-ocb --sign --encrypt /tmp/text >"$out/gnupg24-signed-ocb.pgp"
inside gpgconf --homedir /tmp/gpg --kill all

mkdir "$work/js"
cd "$work/js"
npm init -y >/dev/null
npm install --silent openpgp5@npm:openpgp@5 openpgp6@npm:openpgp@6
cat >make.mjs <<'JS'
import fs from "fs";
import * as v5 from "openpgp5";
import * as v6 from "openpgp6";
const [, , out, root] = process.argv;
const text = fs.readFileSync(`${root}/tmp/text`);
for (const [name, library] of [["openpgpjs5", v5], ["openpgpjs6", v6]]) {
  const { readPrivateKey, createMessage, encrypt, reformatKey, enums } = library;
  const read = async (key) => readPrivateKey({ armoredKey: fs.readFileSync(`${root}/tmp/${key}.asc`, "utf8") });
  const [rsa, ecc] = [await read("rsa"), await read("ecc")];
  const write = async (form, encryptionKeys, more) => {
    const message = await createMessage(form === "signed" ? { text: text.toString() } : { binary: text });
    const format = form === "signed" ? "armored" : "binary";
    const made = await encrypt({ message, encryptionKeys, format, ...more });
    fs.writeFileSync(`${out}/${name}-${form}.${format === "binary" ? "pgp" : "asc"}`, made);
  };
  await write("binary", ecc, {});
  await write("signed", rsa, { signingKeys: rsa });
  await write("zlib", rsa, { config: { preferredCompressionAlgorithm: enums.compression.zlib } });
  // The same key, which now says that it takes authenticated encryption: a draft's in version 5, RFC 9580 in 6.
  const aeadProtect = { config: { aeadProtect: true } };
  const { privateKey } = await reformatKey({ privateKey: rsa, userIDs: [{ name: "aead" }], format: "object",
    date: new Date("2025-02-01T12:00:00Z"), ...aeadProtect });
  await write("aead", privateKey.toPublic(), aeadProtect);
}
JS
node make.mjs "$out" "$root"
cd "$here/../.."
python3 -m tools.make_pgpy messages
rm -rf "$work"
