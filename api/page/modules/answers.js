// Looks for the records of uploads: few requests at a time, and ever more seldom for those that keep waiting.

import { ask, imageQuery } from "./service.js";

const AT_A_TIME = 3;
const FIRST_WAIT = 700;
const LONGEST_WAIT = 10_000;
const SELDOM = 60_000;
const FRESH = 600_000; // for so long after its upload an answer is looked for often
const DAY = 86_400_000;

/** The entries of a search are short; this puts the whole record in the place of one. */
export async function complete(item) {
  if (item.record.model) return;
  const { records } = await ask(`/v1/prediction${imageQuery(item.image)}`);
  Object.assign(item, { records, record: records.find(({ version }) => version === item.record.version) ?? records[0] });
}

const ageOf = (item) => Date.now() - Date.parse(item.at);

export class Answers {
  #waiting = new Map(); // item -> { due, wait, busy }
  #running = 0;
  #timer = 0;
  #changed;

  constructor(changed) {
    this.#changed = changed;
  }

  watch(item, wait = FIRST_WAIT) {
    this.#waiting.set(item, { due: Date.now() + wait, wait: FIRST_WAIT, busy: false });
    this.#tick();
  }

  forget(item) {
    this.#waiting.delete(item);
  }

  #tick() {
    clearTimeout(this.#timer);
    const idle = [...this.#waiting].filter(([, look]) => !look.busy).sort(([, a], [, b]) => a.due - b.due);
    while (this.#running < AT_A_TIME && idle.length && idle[0][1].due <= Date.now()) this.#look(...idle.shift());
    if (idle.length && this.#running < AT_A_TIME) {
      this.#timer = setTimeout(() => this.#tick(), Math.max(50, idle[0][1].due - Date.now()));
    }
  }

  async #look(item, look) {
    this.#running += 1;
    look.busy = true;
    try {
      const { records } = await ask(`/v1/prediction${imageQuery(item.image)}`);
      if (!this.#waiting.has(item)) return; // forgotten meanwhile
      const [record] = records;
      // A record of failure may be written before the last try; a later success replaces it.
      if (record.status === "failed") look.wait = ageOf(item) < FRESH ? LONGEST_WAIT : SELDOM;
      else this.#waiting.delete(item);
      if (item.record?.predicted_at === record.predicted_at) return;
      Object.assign(item, { state: "answered", records, record });
      this.#changed(item);
    } catch (error) {
      const age = ageOf(item);
      if (error.status === 404 && age < DAY) {
        look.wait = age < FRESH ? Math.min(LONGEST_WAIT, look.wait * 1.4) : SELDOM;
      } else if (error.status === 404 || error.status === 422) { // erased, or never uploaded
        if (!this.#waiting.delete(item)) return;
        item.state = "unknown";
        this.#changed(item);
      } else {
        look.wait = LONGEST_WAIT; // a key that is missing, say; somebody may mend that
      }
    } finally {
      look.busy = false;
      look.due = Date.now() + look.wait;
      this.#running -= 1;
      this.#tick();
    }
  }
}
