// Requests to the service. What may pass by itself is tried again here, so that nobody else has to.

import { pause } from "./dom.js";

const LONGEST_WAIT = 15_000;
const MOST_TRIES = 8;
const STALLED = 60_000;
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** An answer that is an error: `code` is for programs, `message` for people (RFC 9457). */
export class Problem extends Error {
  constructor(status, code, detail, retryAfter = 0, record = null) {
    super(detail);
    Object.assign(this, { status, code, retryAfter, record });
  }

  get passes() {
    return PASSING.has(this.status);
  }

  /** `text` is the body: problem details from the service, XML from S3. */
  static from(status, text, retryAfter) {
    const seconds = Number(retryAfter) || 0;
    try {
      const { code, detail, record } = JSON.parse(text);
      return new Problem(status, code, detail, seconds, record);
    } catch {
      const code = /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? "unknown";
      return new Problem(status, code, `The upload was not taken (${status} ${code}).`, seconds);
    }
  }
}

/** Milliseconds to wait before try number `attempt` (0, 1, ...), spread so that many waiters do not return at once. */
export function backoff(attempt) {
  return Math.min(LONGEST_WAIT, 500 * 2 ** attempt) * (0.5 + Math.random() / 2);
}

/** Whether the service answers. While it does not, everybody waits here and one probe looks for it. */
class Connection extends EventTarget {
  #back = null;

  get isLost() {
    return this.#back !== null;
  }

  async there() {
    await this.#back;
  }

  /** Called by whoever got no answer; resolves when the service answers again. */
  lost() {
    this.#back ??= this.#probe();
    return this.#back;
  }

  async #probe() {
    let told = false;
    for (let attempt = 0; !(await this.#answers()); attempt += 1) {
      if (!told) this.dispatchEvent(new Event("lost"));
      told = true;
      await Promise.race([
        pause(backoff(attempt)),
        new Promise((resolve) => window.addEventListener("online", resolve, { once: true })),
      ]);
    }
    this.#back = null;
    if (told) this.dispatchEvent(new Event("back"));
  }

  async #answers() {
    try {
      return (await answered("/healthz")).ok;
    } catch {
      return false;
    }
  }
}

export const connection = new Connection();

/** `fetch`, given up when no answer begins within a minute: a connection that is gone may never say so. */
async function answered(path, options = {}) {
  const control = new AbortController();
  const limit = setTimeout(() => control.abort(), STALLED);
  try {
    return await fetch(path, { cache: "no-store", signal: control.signal, ...options });
  } finally {
    clearTimeout(limit);
  }
}

/** One request; JSON, or with `as: "blob"` the bytes. Throws Problem for what trying again does not mend. */
export async function ask(path, { method = "GET", as = "json" } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    await connection.there();
    let problem;
    try {
      const response = await answered(path, { method });
      if (response.ok) return await response[as]();
      problem = Problem.from(response.status, await response.text(), response.headers.get("Retry-After"));
    } catch {
      await connection.lost();
      await pause(backoff(attempt));
      continue;
    }
    if (problem.status === 401) connection.dispatchEvent(new CustomEvent("refused", { detail: problem.message }));
    // A model that is being loaded comes in its own time.
    if (!problem.passes || (attempt >= MOST_TRIES && problem.code !== "loading")) throw problem;
    await pause(Math.max(problem.retryAfter * 1000, backoff(attempt)));
  }
}

/** Sends `body` by POST; `onShare` hears of the share that is sent (fetch cannot report that). Null: no answer. */
export function send(url, body, onShare, accept = "*/*") {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    let stalled = setTimeout(() => request.abort(), STALLED);
    const moved = () => {
      clearTimeout(stalled);
      stalled = setTimeout(() => request.abort(), STALLED);
    };
    request.upload.addEventListener("progress", (event) => {
      moved();
      if (event.lengthComputable) onShare(event.loaded / event.total);
    });
    request.addEventListener("loadend", () => {
      clearTimeout(stalled);
      resolve(
        request.status === 0
          ? null
          : {
              ok: request.status < 300,
              text: request.responseText,
              problem: () => Problem.from(request.status, request.responseText, request.getResponseHeader("Retry-After")),
            },
      );
    });
    request.open("POST", url);
    request.setRequestHeader("Accept", accept);
    request.send(body);
  });
}

export const imageQuery = (image) => `?image=${encodeURIComponent(image)}`;
