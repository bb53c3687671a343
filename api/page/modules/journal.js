// What this browser remembers: the keys of its uploads and when they were stored. No names, no answers, no pictures.

const NAME = "dermbatch.uploads";
const MOST = 2000;

function read() {
  try {
    const entries = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(entries) ? entries.filter((entry) => typeof entry?.image === "string") : [];
  } catch {
    return []; // storage is switched off, or holds something else
  }
}

function write(entries) {
  try {
    localStorage.setItem(NAME, JSON.stringify(entries.slice(0, MOST)));
  } catch {
    // switched off or full: this visit works all the same
  }
}

/** Newest first: [{ image, at }]. Read anew each time, because other tabs write too. */
export const journal = {
  all: read,
  add: (image, at) => write([{ image, at }, ...read()]),
  remove: (image) => write(read().filter((entry) => entry.image !== image)),
};
