// The model's labels, under the names that people read.

import { capital } from "./words.js";

export class Labels {
  #byCode = new Map();
  all = [];

  /** Before the service has said what they are, codes stand for names. */
  learn(all) {
    this.all = all.map((label) => ({ ...label, name: capital(label.name) }));
    this.#byCode = new Map(this.all.map((label) => [label.code, label]));
  }

  name(code) {
    return this.#byCode.get(code)?.name ?? code; // a label of an earlier model
  }

  isMalignant(code) {
    return this.#byCode.get(code)?.malignant ?? false;
  }
}
