/** How long a person worked on an item: only while the page is seen and something was done within half a minute. */

const REST = 30_000;
const TICK = 1000;

export class WorkClock {
  constructor() {
    this.touched = performance.now();
    this.last = this.touched;
    this.began = this.touched;
    this.secondsBefore = 0;
    this.active = 0;
    const touch = () => { this.touched = performance.now(); };
    for (const name of ["pointermove", "pointerdown", "keydown", "wheel", "scroll", "touchmove"]) {
      addEventListener(name, touch, { passive: true, capture: true });
    }
    setInterval(() => this.tick(), TICK);
    document.addEventListener("visibilitychange", () => this.tick());
  }

  /** Begin with another item. @param {{seconds: number, active: number}} before what it had taken already */
  start(before) {
    this.tick();
    this.began = performance.now();
    this.active = before.active * 1000;
    this.secondsBefore = before.seconds;
  }

  tick() {
    const now = performance.now();
    // A machine that slept wakes with one long step: nobody worked meanwhile.
    const step = Math.max(0, Math.min(now - this.last, 2 * TICK));
    this.last = now;
    if (document.visibilityState === "visible" && now - this.touched < REST) this.active += step;
  }

  /** Whether something was done within the last `seconds`. @param {number} seconds @returns {boolean} */
  busy(seconds) {
    return performance.now() - this.touched < seconds * 1000;
  }

  /** @returns {{seconds: number, active: number}} so far, in seconds */
  get time() {
    this.tick();
    const seconds = this.secondsBefore + Math.max(0, performance.now() - this.began) / 1000;
    return { seconds: round(seconds), active: round(Math.min(this.active / 1000, seconds)) };
  }
}

/** @param {number} seconds */
const round = (seconds) => Math.round(seconds * 10) / 10;
