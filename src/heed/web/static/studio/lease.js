/** How long the item on the screen is still this rater's: renewed by work, warned of before the end, extended by a button. */

import { ApiError, request } from "./api.js";

/** @typedef {import("./clock.js").WorkClock} WorkClock */

const WARNING = 120_000;
const RENEWED_EVERY = 60_000;

export class Lease {
  /**
   * @param {WorkClock} clock
   * @param {{warn: (seconds: number) => void, calm: () => void, lost: () => void}} tell
   */
  constructor(clock, tell) {
    this.clock = clock;
    this.tell = tell;
    this.id = "";
    this.deadline = Infinity;
    this.length = Infinity;
    this.renewed = 0;
    this.state = "calm";
    setInterval(() => this.look(), 1000);
  }

  /** Watch another showing. @param {string} id @param {number} deadline by performance.now() @param {number} minutes of a whole lease */
  hold(id, deadline, minutes) {
    this.id = id;
    this.deadline = deadline;
    this.length = minutes * 60_000;
    // A prefetched one may have waited for long; so may one that was reopened.
    this.renewed = deadline - performance.now() < 0.7 * this.length ? -Infinity : performance.now();
    this.become("calm");
    this.look();
  }

  /** Watch nothing. */
  release() {
    this.id = "";
    this.deadline = Infinity;
    this.become("calm");
  }

  look() {
    if (!this.id) return;
    const now = performance.now();
    const left = this.deadline - now;
    const every = Math.min(RENEWED_EVERY, this.length / 3);
    if (this.clock.busy(every / 1000) && now - this.renewed > every) this.renew();
    if (left <= 0) this.become("lost");
    else if (left < Math.min(WARNING, this.length / 2)) this.become("warned", left / 1000);
    else this.become("calm");
  }

  /** Ask for more time. @returns {Promise<boolean>} whether the item is still ours */
  async renew() {
    const id = this.id;
    this.renewed = performance.now();
    try {
      const body = { active_seconds: this.clock.time.active };
      const { data, moment } = await request("POST", `/api/v1/showings/${id}/renew`, body);
      if (this.id === id) this.deadline = moment.until(data.expires);
      this.look();
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.id === id && !error.passing && error.status !== 401) {
        this.deadline = performance.now();
        this.become("lost");
      }
      return error.passing;
    }
  }

  /** @param {"calm" | "warned" | "lost"} state @param {number} [seconds] */
  become(state, seconds = 0) {
    const same = this.state === state;
    this.state = state;
    if (state === "warned") this.tell.warn(seconds);
    else if (!same) this.tell[state]();
  }
}
