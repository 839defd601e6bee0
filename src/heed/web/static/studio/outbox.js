/**
 * What has been said and not yet acknowledged. It survives a closed page and a lost network, goes out in the order in which
 * it was said, and each of it once: the server knows it again by its key.
 */

import { ApiError, request } from "./api.js";

/** @typedef {import("./storage.js").Drawer} Drawer */
/** @typedef {{key: string, kind: "answer" | "skip", showing: string, path: string, body: object}} Letter */

const LONGEST_WAIT = 60;
const NAME = "outbox";

/** A key that nobody else makes. Not `randomUUID`: browsers keep that from servers that are reached without HTTPS. */
function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox extends EventTarget {
  /**
   * Dispatches "change"; "sent" and "refused" with `detail: {letter, data | error}`.
   * @param {Drawer} drawer
   */
  constructor(drawer) {
    super();
    this.drawer = drawer;
    /** Why nothing goes out at the moment; null while all is well. @type {ApiError | null} */
    this.trouble = null;
    /** Whether all that waits will survive the page. */
    this.kept = true;
    this.failures = 0;
    /** @type {Promise<void> | null} */
    this.sending = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    addEventListener("online", () => this.flush());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.flush());
  }

  /** @returns {Letter[]} */
  get letters() {
    return this.drawer.get(NAME) ?? [];
  }

  /** @param {string} showing @returns {boolean} */
  holds(showing) {
    return this.letters.some((letter) => letter.showing === showing);
  }

  /** Keep a letter and send it as soon as may be. @param {Omit<Letter, "key">} letter */
  post(letter) {
    this.kept = this.drawer.set(NAME, [...this.letters, { ...letter, key: freshKey() }]);
    this.changed();
    this.flush();
  }

  /** Take the letter of a showing back, if it has not gone out. @param {string} showing @returns {Letter | null} */
  recall(showing) {
    const letter = this.letters.find((one) => one.showing === showing) ?? null;
    if (!letter || this.sending) return null;
    this.drop(letter);
    return letter;
  }

  /** Send what there is. @returns {Promise<void>} settles when all went out or the way is blocked */
  flush() {
    clearTimeout(this.timer);
    this.sending ??= this.sendAll().finally(() => {
      this.sending = null;
      this.changed();
    });
    return this.sending;
  }

  async sendAll() {
    // Another tab of this browser may be sending the same; the lock saves requests, the key what they do.
    if (navigator.locks) await navigator.locks.request(this.drawer.prefix + NAME, () => this.sendEach());
    else await this.sendEach();
  }

  async sendEach() {
    for (let letter = this.letters[0]; letter; letter = this.letters[0]) {
      this.changed();
      let answer;
      try {
        answer = await request("POST", letter.path, letter.body, { key: letter.key });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.passing || error.status === 401) {
          this.wait(error);
          return;
        }
        this.drop(letter);
        this.dispatchEvent(new CustomEvent("refused", { detail: { letter, error } }));
        continue;
      }
      this.trouble = null;
      this.failures = 0;
      this.drop(letter);
      this.dispatchEvent(new CustomEvent("sent", { detail: { letter, data: answer.data } }));
    }
    this.trouble = null;
  }

  /** @param {ApiError} error */
  wait(error) {
    this.trouble = error;
    this.failures += 1;
    const seconds = Math.max(error.wait, Math.min(LONGEST_WAIT, 2 ** Math.min(this.failures, 6)));
    this.timer = setTimeout(() => this.flush(), seconds * 1000);
    this.changed();
  }

  /** @param {Letter} letter */
  drop(letter) {
    const left = this.letters.filter((one) => one.key !== letter.key);
    if (left.length) this.drawer.set(NAME, left);
    else this.drawer.remove(NAME);
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}
