/** Lines above the item that stay until they are over: the time that ends, what was refused, what was typed elsewhere. */

import { make } from "./dom.js";

/** @typedef {{text: string, do: () => void, primary?: boolean}} Button */

export class Banners {
  /** @param {HTMLElement} room a live region */
  constructor(room) {
    this.room = room;
    /** @type {Map<string, HTMLElement>} */
    this.shown = new Map();
  }

  /**
   * Show a line, or change it. Buttons stay the same for as long as the line is shown.
   * @param {string} name only one line of a name is shown
   * @param {string} text
   * @param {{kind?: "" | "good" | "warn" | "bad", buttons?: Button[], quietly?: boolean}} [options] `quietly`: not spoken anew
   */
  show(name, text, { kind = "warn", buttons = [], quietly = false } = {}) {
    const before = this.shown.get(name);
    if (before) {
      const words = /** @type {HTMLElement} */ (before.firstElementChild);
      if (words.textContent === text) return;
      before.setAttribute("aria-live", quietly ? "off" : "polite");
      words.textContent = text;
      return;
    }
    const banner = make("div", { class: `notice ${kind} banner` }, make("span", { dir: "auto", text }),
      make("span", { class: "row" }, ...buttons.map((button) =>
        make("button", { type: "button", class: button.primary ? "primary small" : "small", onclick: button.do }, button.text))));
    this.shown.set(name, banner);
    this.room.append(banner);
  }

  /** @param {string} name */
  hide(name) {
    this.shown.get(name)?.remove();
    this.shown.delete(name);
  }
}
