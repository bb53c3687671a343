// Small pictures of images, made only for what is in view: by the browser from the file, or by the service.

import { ask, imageQuery } from "./service.js";

const AT_A_TIME = 2;
const NONE = new Set(["rejected", "superseded"]);

let running = 0;
const queue = [];

/** A square picture of `item` as a Blob of at most `side` (<= 512) pixels; null where there is none. */
export function pictureOf(item, side) {
  return new Promise((resolve) => {
    queue.push({ item, side, resolve });
    next();
  });
}

async function next() {
  if (running >= AT_A_TIME || !queue.length) return;
  running += 1;
  const { item, side, resolve } = queue.shift();
  try {
    resolve((item.file && (await fromFile(item.file, side))) || (await fromService(item, side)));
  } catch {
    resolve(null);
  } finally {
    running -= 1;
    next();
  }
}

/** Null where this browser cannot read the file: HEIC and TIFF in most of them. */
async function fromFile(file, side) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { resizeHeight: side, resizeQuality: "high" });
  } catch {
    return null;
  }
  try {
    // The network sees the centre square; so does the picture.
    const canvas = document.createElement("canvas");
    canvas.width = side;
    canvas.height = side;
    const { width, height } = bitmap;
    const square = Math.min(width, height);
    const left = (width - square) / 2;
    const top = (height - square) / 2;
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    context.drawImage(bitmap, left, top, square, square, 0, 0, side, side);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.88));
  } finally {
    bitmap.close();
  }
}

async function fromService(item, side) {
  if (!item.image || item.state !== "answered" || NONE.has(item.record.status)) return null;
  return await ask(`/v1/preview${imageQuery(item.image)}&side=${side}`, { as: "blob" });
}

/** Calls `enter` when the node comes near the view, and `leave` when it goes. */
const watched = new WeakMap();
const observer = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const { enter, leave } = watched.get(entry.target);
      (entry.isIntersecting ? enter : leave)();
    }
  },
  { rootMargin: "250px 0px" },
);

export function whileInView(node, enter, leave) {
  watched.set(node, { enter, leave });
  observer.observe(node);
}

export function notInView(node) {
  observer.unobserve(node);
}
