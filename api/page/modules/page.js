// The page: puts the parts together and owns the list of images.
//
//   intake -> uploads -> answers -> card, summary, answer      journal: what a reload finds again
//   search -> card, answer

import { AnswerDialog } from "./answer.js";
import { Answers, complete } from "./answers.js";
import { Card } from "./card.js";
import { saveCsv, saveJson } from "./export.js";
import { listen } from "./intake.js";
import { journal } from "./journal.js";
import { Labels } from "./labels.js";
import { Search } from "./search.js";
import { ask, connection, imageQuery } from "./service.js";
import { Summary } from "./summary.js";
import { Uploads } from "./uploads.js";
import { count, megabytes, title } from "./words.js";

const UNSAFE = new Set(["waiting", "uploading"]);
const NEWS_EVERY = 4000; // milliseconds: a screen reader must not be interrupted by each of 500 files

const byId = (id) => document.getElementById(id);
const list = byId("cards");
const warning = byId("warning");

const labels = new Labels();
let own = []; // newest first
let shown = own;
let search = null;
let view = "own";
let heir = null; // gets the focus of an image that was removed

const uploads = new Uploads((item) => {
  if (item.state === "stored") {
    journal.add(item.image, item.at);
    answers.watch(item);
  }
  changed(item);
});
const answers = new Answers(changed);
const summary = new Summary(refresh);
const dialog = new AnswerDialog(labels, { open, neighbour, erase, closed });

function take(files) {
  if (!files.length) return;
  byId("own-view").checked = true;
  show("own");
  const at = new Date().toISOString();
  const items = files.map((file) => ({ file, name: file.name, at, state: "waiting", share: 0 }));
  own.unshift(...items);
  list.prepend(...items.map((item) => cardOf(item).node));
  uploads.add(items);
  refresh();
}

function cardOf(item) {
  item.card ??= new Card(item, labels, { open, retry, remove });
  return item.card;
}

async function open(item) {
  try {
    await complete(item);
    item.card?.update();
    dialog.open(item);
  } catch (error) {
    say(error.message);
  }
}

function retry(item) {
  if (item.image) {
    item.state = "stored";
    answers.watch(item, 0);
    changed(item);
  } else uploads.add([item]);
}

/** From the list and this browser's memory; the service keeps what it has. */
function remove(item) {
  heir = neighbour(item, 1) ?? neighbour(item, -1);
  answers.forget(item);
  if (item.image) journal.remove(item.image);
  own = own.filter((other) => other !== item);
  if (search) search.items = search.items.filter((other) => other !== item);
  item.card?.remove();
  refresh();
  closed(item);
}

/** Where the focus goes when `item` is no longer what it is on. */
function closed(item) {
  const card = [item, heir].map((one) => one?.card).find((one) => one?.node.isConnected);
  if (card) card.focus();
  else byId("images").focus();
}

async function erase(item) {
  try {
    await ask(`/v1/prediction${imageQuery(item.image)}`, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) throw error; // gone already
  }
  const twins = [...own, ...(search?.items ?? [])].filter((other) => other.image === item.image);
  for (const twin of twins) remove(twin);
  say(`${title(item)} was erased.`);
}

function neighbour(item, step) {
  const visible = shown.filter((other) => summary.isShown(other) && other.state === "answered");
  return visible[visible.indexOf(item) + step];
}

// Cards change at once; what counts over all images does so a few times a second.
const COUNT_EVERY = 150;
let counting = 0;
function changed(item) {
  item.card?.update();
  counting ||= setTimeout(refresh, COUNT_EVERY);
}

function refresh() {
  clearTimeout(counting);
  counting = 0;
  shown = view === "own" ? own : (search?.items ?? []);
  summary.update(shown);
  for (const item of shown) if (item.card) item.card.node.hidden = !summary.isShown(item);
  byId("empty").hidden = shown.length > 0;
  document.body.classList.toggle("fresh", view === "own" && own.length === 0);
  const answered = shown.some((item) => item.state === "answered");
  byId("csv").disabled = !answered;
  byId("json").disabled = !answered;
  tellSafety();
}

function tellSafety() {
  const unsafe = own.filter((item) => UNSAFE.has(item.state)).length;
  const waiting = own.filter((item) => item.state === "stored").length;
  const answered = own.filter((item) => item.state === "answered").length;
  const safety = byId("safety");
  safety.classList.toggle("unsafe", unsafe > 0);
  if (unsafe) safety.textContent = `Keep this page open: ${count(unsafe, "image is", "images are")} still to be uploaded.`;
  else if (waiting) safety.textContent = `Safe to close this page. ${count(waiting, "answer")} to come.`;
  else safety.textContent = own.length && view === "own" ? `${count(own.length, "upload")}, ${answered} answered.` : "";
  if (unsafe + waiting || wasBusy) tellNews(safety.textContent);
  wasBusy = unsafe + waiting > 0;
}

let wasBusy = false;
let newsTimer = 0;
let news = "";
function tellNews(text) {
  news = text;
  newsTimer ||= setTimeout(() => {
    newsTimer = 0;
    byId("news").textContent = news;
  }, NEWS_EVERY);
}

function say(text) {
  clearTimeout(newsTimer);
  newsTimer = 0;
  byId("news").textContent = text;
}

function show(name) {
  if (view === name) return;
  view = name;
  for (const item of shown) {
    item.card?.remove();
    item.card = null;
  }
  byId("search").hidden = name === "own";
  summary.only = null;
  if (name === "own") {
    search?.stop();
    byId("empty").textContent = "No image was uploaded from this browser yet.";
    list.append(...own.map((item) => cardOf(item).node));
    refresh();
  } else {
    search ??= new Search(labels, found);
    search.begin();
    byId("empty").textContent = "Looking for predictions.";
    refresh();
  }
}

function found(items, sentence) {
  byId("empty").textContent = sentence;
  const nodes = new Set(items.map((item) => cardOf(item).node));
  for (const item of shown) if (!items.includes(item)) item.card?.remove();
  for (const node of [...list.children]) if (!nodes.has(node)) node.remove();
  list.append(...nodes);
  refresh();
  say(items.length ? `${count(items.length, "prediction")} shown.` : sentence);
}

async function exported() {
  const items = shown.filter((item) => item.state === "answered" && summary.isShown(item));
  // Entries of the indexes are short: a file of records has whole ones.
  for (const item of items) await complete(item).catch(() => {});
  return items;
}

connection.addEventListener("lost", () => {
  warning.textContent = "The service does not answer. Everything goes on by itself as soon as it does.";
});
connection.addEventListener("back", () => {
  warning.textContent = "";
  say("The service answers again.");
});
connection.addEventListener("refused", ({ detail }) => {
  warning.textContent = detail;
});
window.addEventListener("beforeunload", (event) => {
  if (!own.some((item) => UNSAFE.has(item.state))) return;
  event.preventDefault();
  event.returnValue = true; // for browsers that know only this
});
for (const radio of document.querySelectorAll("[name=view]")) radio.addEventListener("change", () => show(radio.value));
byId("csv").addEventListener("click", async () => saveCsv(await exported()));
byId("json").addEventListener("click", async () => saveJson(await exported()));

async function begin() {
  own = journal.all().map(({ image, at }) => ({ image, at, state: "stored", share: 1 }));
  shown = own;
  listen(byId("add"), take);
  refresh();
  try {
    const model = await ask("/v1/model");
    labels.learn(model.labels);
    byId("limits").textContent = `JPEG, PNG, WebP, TIFF, HEIC or DICOM, up to ${megabytes(model.max_image_bytes)} each.`;
    byId("model").textContent = `Model ${model.name} ${model.version}, ${count(labels.all.length, "label")}.`;
  } catch (error) {
    warning.textContent = error.message;
  }
  list.append(...own.filter((item) => !item.card).map((item) => cardOf(item).node));
  for (const item of own) if (item.image && item.state === "stored" && !item.file) answers.watch(item, 0);
  document.documentElement.dataset.ready = "true";
}

begin();
