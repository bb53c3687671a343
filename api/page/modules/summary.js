// How many images are in which state: a bar, and one button for each count that shows only those.

import { el, setShare } from "./dom.js";

const WORK = ["waiting", "uploading", "stored", "stopped", "unknown"];
const ORDER = [...WORK, "classified", "referred", "rejected", "superseded", "failed"];
const NAMES = { stored: "uploaded", stopped: "not uploaded", unknown: "without a record" };

export const kindOf = (item) => (item.state === "answered" ? item.record.status : item.state);

export class Summary {
  #node = document.getElementById("summary");
  #shares = this.#node.querySelector(".shares");
  #counts = this.#node.querySelector(".counts");
  #buttons = new Map();
  #chosen;
  only = null;

  constructor(chosen) {
    this.#chosen = chosen;
  }

  isShown(item) {
    return this.only === null || (this.only === "urgent" ? item.record?.triage === "urgent" : kindOf(item) === this.only);
  }

  update(items) {
    this.#node.hidden = items.length === 0;
    const numbers = new Map();
    for (const item of items) numbers.set(kindOf(item), (numbers.get(kindOf(item)) ?? 0) + 1);
    const present = ORDER.filter((kind) => numbers.has(kind));
    this.#shares.replaceChildren(
      ...present.map((kind) => {
        const share = el("i", { "data-tone": kind });
        setShare(share, numbers.get(kind) / items.length);
        return share;
      }),
    );
    const urgent = items.filter((item) => item.record?.triage === "urgent").length;
    const counts = [...present.map((kind) => [kind, numbers.get(kind)]), ...(urgent ? [["urgent", urgent]] : [])];
    if (this.only && !counts.some(([kind]) => kind === this.only)) this.only = null;
    // The same buttons stay, so that the one with the focus keeps it while the numbers move.
    for (const [kind, button] of this.#buttons) if (!counts.some(([other]) => other === kind)) button.remove();
    this.#counts.append(...counts.map(([kind, number]) => this.#button(kind, number)));
  }

  #button(kind, number) {
    if (!this.#buttons.has(kind)) {
      const button = el("button", { type: "button", "data-tone": kind, onclick: () => this.#choose(kind) }, el("b"), ` ${NAMES[kind] ?? kind}`);
      this.#buttons.set(kind, button);
    }
    const button = this.#buttons.get(kind);
    button.querySelector("b").textContent = number;
    button.setAttribute("aria-pressed", String(this.only === kind));
    return button;
  }

  #choose(kind) {
    this.only = this.only === kind ? null : kind;
    for (const [other, button] of this.#buttons) button.setAttribute("aria-pressed", String(this.only === other));
    this.#chosen();
  }
}
