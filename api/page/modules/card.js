// One image in the list: its picture, its state or answer, and the button that opens it.

import { complete } from "./answers.js";
import { el, level, pill, setShare } from "./dom.js";
import { drawHeat } from "./heat.js";
import { notInView, pictureOf, whileInView } from "./pictures.js";
import { STATES, capital, percent, title } from "./words.js";

const SIDE = 256; // pixels: a card's square on a fine screen

export class Card {
  #picture = el("div", { class: "picture" });
  #facts = el("div", { class: "facts" });
  #blob = null;
  #making = null;
  #url = null;
  #inView = false;
  #shown = null;
  #labels;
  #deeds;

  /** `labels` maps codes to names; `deeds` has open(item), retry(item) and remove(item). */
  constructor(item, labels, deeds) {
    this.item = item;
    this.#labels = labels;
    this.#deeds = deeds;
    this.node = el("li", { class: "card" }, this.#picture, this.#facts);
    this.update();
    whileInView(this.node, () => this.#enter(), () => this.#leave());
  }

  update() {
    const { item } = this;
    // Progress alone moves often: only its two nodes change then, and what has the focus stays.
    if (this.#shown === item.state && item.state === "uploading") {
      setShare(this.node, item.share);
      this.#facts.querySelector(".number").textContent = percent(item.share);
      return;
    }
    const hadFocus = this.#facts.contains(document.activeElement);
    this.#shown = item.state;
    this.node.dataset.tone = item.state === "answered" ? item.record.status : item.state;
    setShare(this.node, item.share ?? 0);
    this.#facts.replaceChildren(...(item.state === "answered" ? this.#answer() : this.#state()));
    if (hadFocus) this.focus();
    this.#draw();
  }

  focus() {
    this.#facts.querySelector("button")?.focus();
  }

  remove() {
    notInView(this.node);
    this.#leave();
    this.node.remove();
  }

  #first(...pills) {
    return el("div", { class: "first" }, el("span", { class: "name" }, title(this.item)), el("span", { class: "pills" }, pills));
  }

  #state() {
    const { item } = this;
    const words = STATES[item.state];
    const isMoving = item.state === "uploading";
    const number = isMoving && el("span", { class: "number" }, percent(item.share));
    const parts = [
      this.#first(pill(item.state, words.pill)),
      el("div", { class: "second" }, el("h3", {}, words.headline), number),
      isMoving && el("div", { class: "level", "aria-hidden": "true" }, el("i")),
      el("p", { class: item.problem ? "reason" : "remark" }, item.problem ?? words.remark),
    ];
    if (item.state === "stopped" || item.state === "unknown") {
      const name = title(item);
      const retry = item.file && { class: "button", type: "button", "aria-label": `Try again: ${name}`, onclick: () => this.#deeds.retry(item) };
      const remove = { class: "button", type: "button", "aria-label": `Remove from the list: ${name}`, onclick: () => this.#deeds.remove(item) };
      parts.push(el("div", { class: "tries" }, retry && el("button", retry, "Try again"), el("button", remove, "Remove from the list")));
    }
    return parts.filter(Boolean);
  }

  #answer() {
    const { record } = this.item;
    const pills = [record.triage === "urgent" && pill("urgent", "urgent"), pill(record.status, record.status)];
    const reason = record.reasons?.[0];
    const headline = record.label ? this.#labels.name(record.label) : capital((reason?.code ?? record.status).replaceAll("_", " "));
    const spoken = record.label ? `${headline}, ${percent(record.confidence)}` : headline;
    const open = el(
      "button",
      { class: "open", type: "button", "aria-label": `${spoken}: ${title(this.item)}, ${record.status}${record.triage === "urgent" ? ", urgent" : ""}`, onclick: () => this.#deeds.open(this.item) },
      headline,
    );
    return [
      this.#first(...pills.filter(Boolean)),
      el("div", { class: "second" }, el("h3", {}, open), record.label && el("span", { class: "number" }, percent(record.confidence))),
      record.label && level(record.confidence),
      record.prediction_set && el("p", { class: "remark" }, this.#alternatives(record)),
      reason && el("p", { class: record.label ? "reason" : "remark" }, reason.sentence),
    ].filter(Boolean);
  }

  #alternatives(record) {
    const others = record.prediction_set.filter((code) => code !== record.label);
    if (!others.length) return "No other label in its prediction set";
    const likely = others.slice(0, 2).map((code) => `${this.#labels.name(code).toLowerCase()} ${percent(record.probabilities[code])}`);
    return `Could also be ${likely.join(", ")}${others.length > 2 ? ` and ${others.length - 2} more` : ""}`;
  }

  async #enter() {
    this.#inView = true;
    if (this.item.state === "answered" && !this.item.record.model) {
      await complete(this.item).catch(() => {}); // what is known in short is shown all the same
      this.update();
    } else await this.#draw();
  }

  #leave() {
    this.#inView = false;
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
    this.#picture.replaceChildren();
  }

  /** The picture, made once; again when there was none and the item has moved on: the service may have one now. */
  async #make() {
    while (!this.#blob) {
      const { state } = this.item;
      this.#making ??= pictureOf(this.item, SIDE).finally(() => (this.#making = null));
      this.#blob = await this.#making;
      if (!this.#blob && this.item.state === state) return;
    }
  }

  async #draw() {
    if (!this.#inView) return;
    const { item } = this;
    await this.#make();
    if (!this.#inView) return;
    const isWaiting = item.state === "waiting" || item.state === "uploading" || item.state === "stored";
    if (this.#blob && !this.#url) this.#url = URL.createObjectURL(this.#blob);
    const photo = this.#url && el("img", { src: this.#url, alt: "" });
    const ring = isWaiting && el("div", { class: "ring", "aria-hidden": "true" }, el("i"), el("span", {}, STATES[item.state].ring));
    this.#picture.classList.toggle("none", !photo && !isWaiting);
    if (!photo || !item.record?.heatmap) {
      this.#picture.replaceChildren(...[photo, ring].filter(Boolean));
      return;
    }
    const canvas = el("canvas", { "aria-hidden": "true" });
    await photo.decode().catch(() => {});
    if (!this.#inView) return;
    drawHeat(canvas, photo, item.record.heatmap, SIDE);
    this.#picture.replaceChildren(photo, canvas);
  }
}
