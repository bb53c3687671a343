// One answer in full: a dialog with the picture under its heat map, and the record in words.

import { el, level, pill } from "./dom.js";
import { saveJson } from "./export.js";
import { drawHeat } from "./heat.js";
import { pictureOf } from "./pictures.js";
import { NOTICE, STATUSES, TRIAGE, capital, date, inWords, percent, title } from "./words.js";

const SIDE = 512;

export class AnswerDialog {
  #dialog = document.getElementById("answer");
  #item = null;
  #url = null;
  #labels;
  #deeds;

  /** `deeds` has open(item), neighbour(item, step), closed(item), and erase(item), which rejects with a sentence. */
  constructor(labels, deeds) {
    this.#labels = labels;
    this.#deeds = deeds;
    this.#dialog.addEventListener("close", () => this.#closed());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // the backdrop
    });
  }

  open(item) {
    this.#show(item);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#dialog.scrollTop = 0;
    this.#dialog.querySelector("#answer-title").focus({ preventScroll: true });
  }

  #closed() {
    this.#release();
    this.#dialog.replaceChildren();
    const item = this.#item;
    this.#item = null;
    this.#deeds.closed(item);
  }

  #release() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }

  #show(item) {
    this.#release();
    this.#item = item;
    const { record } = item;
    this.#dialog.dataset.tone = record.status;
    this.#dialog.replaceChildren(
      this.#head(item),
      el(
        "div",
        { class: "sides" },
        el("div", { class: "side seen" }, this.#stage(item), record.heatmap && scale()),
        el(
          "div",
          { class: "side said" },
          this.#verdict(record),
          reasons(record),
          record.probabilities && this.#odds(record),
          record.prediction_set && this.#set(record),
        ),
        el("div", { class: "side known" }, this.#meta(item), this.#actions(item)),
      ),
    );
  }

  #head(item) {
    const step = (by, name) => {
      const other = this.#deeds.neighbour(item, by);
      return el("button", { class: "button", type: "button", disabled: !other, "aria-label": `${name} image`, onclick: () => this.#deeds.open(other) }, name);
    };
    return el(
      "div",
      { class: "head" },
      el("p", { class: "notice" }, NOTICE),
      el("div", { class: "steps" }, step(-1, "Previous"), step(1, "Next")),
      el("button", { class: "button", type: "button", "aria-label": "Close the answer", onclick: () => this.#dialog.close() }, "Close"),
    );
  }

  #stage(item) {
    const stage = el("figure", { class: "stage", "aria-label": "The image" });
    this.#fill(stage, item);
    return stage;
  }

  async #fill(stage, item) {
    const blob = await pictureOf(item, SIDE);
    if (this.#item !== item) return;
    if (!blob) {
      stage.classList.add("none");
      return;
    }
    this.#url = URL.createObjectURL(blob);
    const photo = el("img", { src: this.#url, alt: `The centre square of ${title(item)}, which the model saw` });
    await photo.decode().catch(() => {});
    if (this.#item !== item) return;
    if (!item.record.heatmap) {
      stage.replaceChildren(photo);
      return;
    }
    const canvas = el("canvas", { "aria-hidden": "true" });
    drawHeat(canvas, photo, item.record.heatmap, SIDE);
    const slider = el("input", { type: "range", min: "0", max: "100", step: "1", value: "50", "aria-label": "Share of the image that the heat map covers, from the right" });
    const move = () => {
      const covered = 100 - Number(slider.value);
      stage.style.setProperty("--split", `${slider.value}%`);
      slider.setAttribute("aria-valuetext", `${covered} percent covered by the heat map`);
    };
    slider.addEventListener("input", move);
    move();
    stage.replaceChildren(
      photo,
      canvas,
      slider,
      el("span", { class: "handle", "aria-hidden": "true" }),
      el("span", { class: "tag left", "aria-hidden": "true" }, "image"),
      el("span", { class: "tag right", "aria-hidden": "true" }, "heat map"),
    );
  }

  #verdict(record) {
    const heading = record.label
      ? [el("small", {}, "The model's label"), this.#labels.name(record.label)]
      : [el("small", {}, "No label"), STATUSES[record.status]];
    return el(
      "div",
      { class: "verdict" },
      el("div", { class: "pills" }, record.triage === "urgent" && pill("urgent", "urgent"), pill(record.status, record.status)),
      el("h2", { id: "answer-title", tabindex: "-1" }, ...heading),
      record.label && el("p", {}, `${percent(record.confidence)} confidence, ${inWords(record.confidence)}. ${STATUSES[record.status]}`),
      record.triage && el("p", { class: "quiet" }, TRIAGE[record.triage]),
    );
  }

  #odds(record) {
    const inSet = new Set(record.prediction_set);
    const rows = Object.entries(record.probabilities)
      .sort(([, a], [, b]) => b - a)
      .map(([code, share]) =>
        el(
          "li",
          { class: inSet.has(code) ? false : "rest" },
          el("span", {}, this.#labels.name(code), this.#labels.isMalignant(code) && [" ", el("span", { class: "mark" }, "malignant or pre-malignant")]),
          el("span", {}, percent(share)),
          level(share),
        ),
      );
    return el("section", { "aria-label": "Probabilities" }, el("h3", {}, "How likely the model finds each label"), el("ul", { class: "odds" }, rows));
  }

  #set(record) {
    const names = record.prediction_set.map((code) => this.#labels.name(code).toLowerCase());
    const list = names.length > 1 ? `${names.slice(0, -1).join(", ")} or ${names.at(-1)}` : names[0];
    return el(
      "section",
      { "aria-label": "Prediction set" },
      el("h3", {}, "Prediction set: labels that stay possible"),
      el("p", {}, `${capital(list)}.`),
      el("p", { class: "quiet" }, "Such sets are made wide enough to hold the true label for most images; the model card says how often."),
    );
  }

  #meta({ image, records, record }) {
    const { object, model } = record;
    const size = object.width && `${object.width} × ${object.height} pixels, ${object.format.toUpperCase()}`;
    const others = records.filter((other) => other !== record);
    const rows = [
      ["Answered", el("time", { datetime: record.predicted_at }, date(record.predicted_at))],
      record.uploaded_at && ["Uploaded", el("time", { datetime: record.uploaded_at }, date(record.uploaded_at))],
      ["Model", `${model.name} ${model.version}`],
      size && ["Image", size],
      image && ["Key", el("code", {}, image)],
      ...others.map((other) => [
        "Earlier",
        `${other.label ? `${this.#labels.name(other.label)} ${percent(other.confidence)}` : other.status}, ${other.model.version}, ${date(other.predicted_at)}`,
      ]),
    ].filter(Boolean);
    return el("dl", { class: "meta" }, rows.map(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]));
  }

  #actions(item) {
    const node = el("div");
    const ask = () => {
      const keep = el("button", { class: "button", type: "button", onclick: () => node.replaceChildren(usual()) }, "Keep it");
      const said = el("p", {}, "Erase this image and every record of it? This cannot be undone.");
      const erase = el("button", { class: "button danger", type: "button" }, "Erase for good");
      erase.addEventListener("click", async () => {
        erase.disabled = true;
        keep.disabled = true;
        said.textContent = "Erasing the image and its records.";
        try {
          await this.#deeds.erase(item);
          this.#dialog.close();
        } catch (error) {
          said.textContent = `It was not erased. ${error.message}`;
          erase.disabled = false;
          keep.disabled = false;
        }
      });
      node.replaceChildren(el("div", { class: "confirm", role: "group", "aria-label": "Erase this image" }, said, el("div", { class: "deeds" }, keep, erase)));
      keep.focus();
    };
    const usual = () =>
      el(
        "div",
        { class: "deeds" },
        el("button", { class: "button", type: "button", onclick: () => saveJson([item], "dermbatch-record.json") }, "Download the record"),
        item.image && el("button", { class: "button danger", type: "button", onclick: ask }, "Erase this image"),
      );
    node.append(usual());
    return node;
  }
}

function reasons(record) {
  if (!record.reasons.length) return null;
  const heading = record.label ? "Why a person should look" : "Why, and what to do";
  return el(
    "section",
    { class: "advice", "data-tone": record.status, "aria-label": "Reasons" },
    el("h3", {}, heading),
    record.reasons.map((reason) => el("p", {}, reason.sentence)),
  );
}

function scale() {
  return el(
    "div",
    { class: "scale" },
    el("div", { class: "ramp", "aria-hidden": "true" }),
    el("div", { class: "ends" }, ["none", "evidence for the label", "strongest"].map((word) => el("span", {}, word))),
  );
}
