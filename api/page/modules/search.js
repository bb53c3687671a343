// All predictions of the deployment, through its indexes: filters and pages.

import { ask } from "./service.js";

const PAGE = 48;
const DAYS = 1; // before today: a question without a label asks every label's partitions of every day

export class Search {
  #form = document.getElementById("search");
  #more = document.getElementById("more");
  #show;
  #cursor = null;
  #run = 0;
  items = [];

  /** `show(items, sentence)` draws what was found; the sentence says why there is nothing. */
  constructor(labels, show) {
    this.#show = show;
    for (const { code, name } of labels.all) this.#form.elements.label.add(new Option(name, code));
    this.#form.elements.since.value = new Date(Date.now() - DAYS * 86_400_000).toISOString().slice(0, 10);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.#more.addEventListener("click", () => this.#page());
  }

  async begin() {
    this.items = [];
    this.#cursor = null;
    await this.#page();
  }

  stop() {
    this.#run += 1;
    this.#more.hidden = true;
  }

  async #page() {
    this.#run += 1;
    const run = this.#run;
    const query = new URLSearchParams([...new FormData(this.#form)].filter(([, value]) => value));
    query.set("limit", PAGE);
    if (this.#cursor) query.set("cursor", this.#cursor);
    this.#more.disabled = true;
    let sentence = "No prediction fits. Choose an earlier day or fewer filters.";
    try {
      const { predictions, next } = await ask(`/v1/predictions?${query}`);
      if (run !== this.#run) return;
      this.#cursor = next;
      this.items.push(...predictions.map((record) => ({ state: "answered", image: record.image, at: record.predicted_at, record, records: [record] })));
    } catch (error) {
      if (run !== this.#run) return;
      this.#cursor = null;
      sentence = error.message;
    }
    this.#more.disabled = false;
    this.#more.hidden = !this.#cursor;
    this.#show(this.items, sentence);
  }
}
