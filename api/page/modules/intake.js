// Ways in: drop (files and folders), paste, library, camera. All end in `take(files)`.

export function listen(zone, take) {
  for (const id of ["library", "camera"]) {
    const input = document.getElementById(id);
    input.addEventListener("change", () => {
      take([...input.files]);
      input.value = ""; // so that the same file may be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
  // The whole window takes a drop: a file that misses the zone must not replace the page.
  let depth = 0;
  const hot = (by) => {
    depth = Math.max(0, depth + by);
    zone.classList.toggle("hot", depth > 0);
  };
  window.addEventListener("dragenter", () => hot(1));
  window.addEventListener("dragleave", () => hot(-1));
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", async (event) => {
    event.preventDefault();
    hot(-depth);
    take(await dropped(event.dataTransfer));
  });
}

/** Entries must be asked for before the first await: the browser empties the list after the event. */
async function dropped(transfer) {
  const plain = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return plain;
  const files = [];
  for (const entry of entries) if (entry) await collect(entry, files);
  return files;
}

async function collect(entry, files) {
  if (entry.name.startsWith(".")) return; // .DS_Store and its kind
  if (entry.isFile) {
    files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at most
    if (!some.length) return;
    for (const child of some) await collect(child, files);
  }
}
