// Files on their way to the bucket: three at a time, each tried again until it is there or cannot be.

import { pause } from "./dom.js";
import { Problem, ask, backoff, connection, send } from "./service.js";
import { megabytes } from "./words.js";

const AT_A_TIME = 3;
const MOST_TRIES = 8;

/** A file that will not get there, with a sentence for its person. */
class Stopped extends Error {}

export class Uploads {
  #queue = [];
  #running = 0;
  #changed;

  /** `changed(item)` hears of every step of an item: waiting, uploading, stored (or answered), stopped. */
  constructor(changed) {
    this.#changed = changed;
  }

  add(items) {
    for (const item of items) this.#set(item, { state: "waiting", share: 0, problem: null });
    this.#queue.push(...items);
    while (this.#running < AT_A_TIME && this.#queue.length) this.#run();
  }

  async #run() {
    this.#running += 1;
    while (this.#queue.length) {
      const item = this.#queue.shift();
      try {
        await this.#upload(item);
      } catch (error) {
        const known = error instanceof Stopped || error instanceof Problem;
        this.#set(item, { state: "stopped", problem: known ? error.message : "The file could not be sent." });
        if (!known) console.error(error);
      }
    }
    this.#running -= 1;
  }

  async #upload(item) {
    if (item.file.size === 0) throw new Stopped("The file is empty.");
    for (let attempt = 0; attempt < MOST_TRIES; attempt += 1) {
      this.#set(item, { state: "uploading", share: 0 });
      const target = await this.#target(item);
      if (item.file.size > target.most) {
        throw new Stopped(`The file is larger than ${megabytes(target.most)}. Save it at a higher compression.`);
      }
      const answer = await send(target.url, target.body, (share) => this.#set(item, { share }), target.accept);
      if (answer?.ok) {
        this.#set(item, target.done(answer));
        return;
      }
      const problem = answer?.problem();
      if (problem?.record) {
        this.#set(item, { state: "answered", record: problem.record, records: [problem.record] });
        return;
      }
      // 403: the place has expired while the file waited; the next try gets a new one.
      if (problem && !problem.passes && problem.status !== 403) throw problem;
      if (!problem) await this.#noAnswer(item);
      await pause(Math.max((problem?.retryAfter ?? 0) * 1000, backoff(attempt)));
    }
    throw new Stopped("The file could not be sent. Check the connection and try again.");
  }

  /** Where the service wants the file: a place in its bucket or, where it has no store, its classifier. */
  async #target(item) {
    try {
      const place = await ask("/v1/uploads", { method: "POST" });
      const body = new FormData();
      for (const [name, value] of Object.entries(place.fields)) body.append(name, value);
      body.append("file", item.file, "image"); // a file's own name may be a person's
      const { image } = place;
      return { url: place.url, body, most: place.max_bytes, done: () => ({ state: "stored", share: 1, image }) };
    } catch (error) {
      if (error.code !== "no_store") throw error;
      const done = ({ text }) => {
        const record = JSON.parse(text);
        return { state: "answered", record, records: [record] };
      };
      return { url: "/v1/classify", body: item.file, most: Infinity, accept: "application/json", done };
    }
  }

  async #noAnswer(item) {
    try {
      await item.file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Stopped("The file can no longer be read. Choose it again.");
    }
    await connection.lost();
  }

  #set(item, change) {
    Object.assign(item, change);
    this.#changed(item);
  }
}
