"use strict";
// Read a bundle: a .zip file, or the files of a folder. Nothing leaves this page.

const LARGEST = 2 ** 30; // bytes of a bundle's files together
const UTF8 = new TextDecoder();
const TOGETHER = 256; // files that are worked on at the same time

/** Let the browser draw and answer, about twenty times a second. */
const breath = (() => {
  let last = 0;
  return async () => {
    if (performance.now() - last < 50) return;
    await new Promise((done) => setTimeout(done));
    last = performance.now();
  };
})();

/** Do something with each item, some at the same time; `report` is told how many are done. */
async function forEachItem(items, work, report) {
  for (let from = 0; from < items.length; from += TOGETHER) {
    await Promise.all(items.slice(from, from + TOGETHER).map(work));
    report(Math.min(from + TOGETHER, items.length), items.length);
    await breath();
  }
}

/**
 * Read what was chosen or dropped.
 *
 * @param {{path: string, file: File}[]} given one zip, or a folder's files with their paths
 * @returns {Promise<Map<string, Uint8Array>>} the bundle's files by name, and the number of those outside of it
 */
async function readBundle(given, report) {
  const zip = given.length === 1 && /\.zip$/i.test(given[0].path);
  const files = zip
    ? await unzip(new Uint8Array(await given[0].file.arrayBuffer()), report)
    : new Map();
  if (!zip) {
    await forEachItem(given, async ({ path, file }) => {
      if (!path.split("/").some((part) => part.startsWith("."))) {
        files.set(path, new Uint8Array(await file.arrayBuffer()));
      }
    }, report);
  }
  return atRoot(files);
}

/** Name the files from the folder in which the bundle lies; hidden files are not part of it, as for `*` in a shell. */
function atRoot(files) {
  const marks = [...files.keys()].filter((name) => /(^|\/)(SHA256SUMS|VERIFY\.txt)$/.test(name));
  if (marks.length === 0) throw new Error("This is not a bundle: it has neither SHA256SUMS nor VERIFY.txt.");
  const folders = marks.map((name) => name.slice(0, name.lastIndexOf("/") + 1));
  const root = folders.reduce((one, other) => (other.length < one.length ? other : one));
  const found = [...files]
    .filter(([name]) => name.startsWith(root))
    .map(([name, data]) => [name.slice(root.length), data])
    .filter(([name]) => !name.split("/").some((part) => part.startsWith(".")));
  return new Map(found.sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** Unpack a zip by its central directory (APPNOTE.TXT 4.3.12); anything unusual is an error. */
async function unzip(data, report) {
  const view = new DataView(data.buffer);
  const bad = (what) => new Error(`The zip cannot be read: ${what}.`);
  let end = data.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw bad("it has no end");
  let count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  if (count === 0xffff || at === 0xffffffff) {
    const wide = Number(view.getBigUint64(end - 12, true)); // the zip64 locator lies before
    if (view.getUint32(wide, true) !== 0x06064b50) throw bad("its directory is missing");
    count = Number(view.getBigUint64(wide + 32, true));
    at = Number(view.getBigUint64(wide + 48, true));
  }
  const entries = [];
  const names = new Set();
  let total = 0;
  for (let number = 0; number < count; number++) {
    if (at + 46 > data.length || view.getUint32(at, true) !== 0x02014b50) throw bad("its directory is damaged");
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
    const [crc, packed, size] = [16, 20, 24].map((offset) => view.getUint32(at + offset, true));
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const place = view.getUint32(at + 42, true);
    const name = text(data.subarray(at + 46, at + 46 + nameLength));
    if (number % TOGETHER === 0) await breath();
    at += 46 + nameLength + extraLength + commentLength;
    if (name.endsWith("/")) continue;
    if (names.has(name)) throw bad(`${name} is in it twice`);
    if (flags & ~0x080e || (method !== 0 && method !== 8)) throw bad(`${name} is packed in an unusual way`);
    if (name.startsWith("/") || /(^|\/)\.\.?(\/|$)|\\|\0/.test(name)) throw bad(`${name} is not a name in a folder`);
    if ((total += size) > LARGEST) throw bad("it is larger than a bundle can be");
    names.add(name);
    entries.push({ name, method, crc, packed, size, place });
  }
  const files = new Map();
  await forEachItem(entries, async ({ name, method, crc, packed, size, place }) => {
    if (place + 30 > data.length || view.getUint32(place, true) !== 0x04034b50) throw bad(`${name} is missing`);
    const from = place + 30 + view.getUint16(place + 26, true) + view.getUint16(place + 28, true);
    const body = data.subarray(from, from + packed);
    const file = method === 0 ? body.slice() : inflate(body, size);
    if (file === null || file.length !== size || crc32(file) !== crc) throw bad(`${name} is damaged`);
    files.set(name, file);
  }, report);
  return files;
}

/** Inflate; the browser's own inflater takes five times as long for many small files. */
function inflate(packed, size) {
  try {
    return fflate.inflateSync(packed, { out: new Uint8Array(size) });
  } catch {
    return null;
  }
}

const CRC = Uint32Array.from({ length: 256 }, (_, number) => {
  for (let bit = 0; bit < 8; bit++) number = number & 1 ? (number >>> 1) ^ 0xedb88320 : number >>> 1;
  return number;
});

/** The zip's checksum: it finds damage, and proves nothing. */
function crc32(data) {
  let crc = 0xffffffff;
  for (const byte of data) crc = (crc >>> 8) ^ CRC[(crc ^ byte) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
}

/** The files of an uncompressed tar (POSIX ustar) by name. */
function untar(data) {
  const files = new Map();
  const field = (from, length) => text(data.subarray(from, from + length)).replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= data.length && data[at] !== 0; ) {
    const size = parseInt(field(at + 124, 12), 8);
    if (!(size >= 0)) throw new Error("The record is not a tar file.");
    files.set(field(at, 100), data.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

function text(data) {
  return UTF8.decode(data);
}
