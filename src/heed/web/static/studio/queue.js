/** The items that this rater holds: the one on the screen and the next ones, fetched before they are wanted. */

import { request } from "./api.js";

/** @typedef {import("./item.js").Showing} Showing */
/** @typedef {{showing: Showing, deadline: number}} Entry */

/** Milliseconds that an item must have left to be worth beginning with. */
const WORTH_IT = 20_000;

export class Queue {
  /**
   * @param {string} question
   * @param {(showing: string) => boolean} gone whether a showing has been answered here, whatever the server knows yet
   */
  constructor(question, gone) {
    this.question = question;
    this.gone = gone;
    this.entries = /** @type {Entry[]} */ ([]);
    this.current = "";
    /** Why there is nothing, as the server says: "done", "waiting", "paused", "closed"; or "". */
    this.reason = "";
    this.answered = 0;
    /** @type {Promise<void> | null} */
    this.loading = null;
  }

  /** Ask for what is held, and for as much more as may be. @returns {Promise<void>} @throws {import("./api.js").ApiError} */
  load() {
    this.loading ??= this.fetch().finally(() => { this.loading = null; });
    return this.loading;
  }

  async fetch() {
    const { data, moment } = await request("POST", `/api/v1/questions/${encodeURIComponent(this.question)}/showings`, {});
    this.reason = data.nothing?.reason ?? "";
    this.answered = data.showings[0]?.progress.answered ?? data.nothing?.answered ?? this.answered;
    const known = new Set(this.entries.map((entry) => entry.showing.id));
    for (const showing of data.showings) {
      const entry = { showing, deadline: moment.until(showing.expires) };
      if (known.has(showing.id)) this.entries = this.entries.map((one) => (one.showing.id === showing.id ? entry : one));
      else this.entries.push(entry);
    }
    const held = new Set(data.showings.map((/** @type {Showing} */ one) => one.id));
    this.entries = this.entries.filter(({ showing }) => held.has(showing.id) && !this.gone(showing.id) && showing.id !== this.current);
  }

  /** The next one, if it is here. @returns {Entry | null} */
  take() {
    const now = performance.now();
    this.entries = this.entries.filter(({ showing, deadline }) => !this.gone(showing.id) && deadline - now > WORTH_IT);
    const entry = this.entries.shift() ?? null;
    this.current = entry?.showing.id ?? "";
    return entry;
  }

  /** Back to the front: something else comes before it. @param {Entry} entry */
  putBack(entry) {
    this.entries.unshift(entry);
  }
}
