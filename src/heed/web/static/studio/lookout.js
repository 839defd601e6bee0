/** Looks for new items where there were none: a run that is trained on ratings asks for more whenever it has written something. */

import { ApiError } from "./api.js";

const EVERY = 20_000;
/** For an hour: a page that was forgotten is not to ask for ever. */
const LOOKS = 180;

export class Lookout {
  /**
   * @param {import("./queue.js").Queue} queue
   * @param {{busy: () => boolean, found: () => void, failed: (error: ApiError) => void}} calls whether there is something else to do;
   *   what to do with new items, and with an error that will not pass by itself
   */
  constructor(queue, calls) {
    this.queue = queue;
    this.calls = calls;
    this.left = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  begin() {
    this.left = LOOKS;
    this.wait();
  }

  wait() {
    clearTimeout(this.timer);
    if (this.left) this.timer = setTimeout(() => this.look(), EVERY);
  }

  /** As long as nothing is found, nothing on the page moves. */
  async look() {
    if (this.calls.busy()) return;
    this.left -= 1;
    try {
      if (!document.hidden) await this.queue.load();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!error.passing) { this.calls.failed(error); return; }
    }
    if (this.calls.busy()) return;
    if (this.queue.entries.length) this.calls.found();
    else this.wait();
  }
}
