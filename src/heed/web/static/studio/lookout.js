/** Looks for new items where there were none: a run that is trained on ratings asks for more whenever it has written something. */

import { ApiError } from "./api.js";

const EVERY = 20_000;
/** For an hour in sight: a page that was forgotten is not to ask for ever. Who comes back to it has it look at once, and on. */
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
    this.waiting = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    document.addEventListener("visibilitychange", () => this.back());
    for (const kind of ["pointerdown", "keydown"]) {
      document.addEventListener(kind, () => { if (!this.left) this.back(); });
    }
  }

  begin() {
    this.left = LOOKS;
    this.waiting = true;
    this.wait();
  }

  back() {
    if (!this.waiting || document.hidden) return;
    this.left = LOOKS;
    this.look();
  }

  wait() {
    clearTimeout(this.timer);
    if (this.left) this.timer = setTimeout(() => this.look(), EVERY);
  }

  /** As long as nothing is found, and what is told of it stays true, nothing on the page moves. */
  async look() {
    clearTimeout(this.timer);
    if (this.calls.busy()) return;
    const before = this.queue.reason;
    try {
      if (!document.hidden) {
        this.left -= 1;
        await this.queue.load();
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!error.passing) { this.waiting = false; this.calls.failed(error); return; }
    }
    if (this.calls.busy()) return;
    if (this.queue.entries.length || this.queue.reason !== before) { this.waiting = false; this.calls.found(); }
    else this.wait();
  }
}
