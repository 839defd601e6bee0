/** One of several: native radio buttons, so that arrows, labels and readers work, each with its key. */

import { freshId, make } from "../dom.js";

/** @typedef {{value: string, text: string, sign?: HTMLElement | null, mark?: Node | null, plain?: boolean}} Option */

export class Choices {
  /**
   * @param {Option[]} options
   * @param {() => void} changed
   * @param {{clear?: boolean, className?: string}} [how] `clear`: a second press takes the choice back
   */
  constructor(options, changed, how = {}) {
    const name = freshId();
    this.inputs = /** @type {Map<string, HTMLInputElement>} */ (new Map());
    this.changed = changed;
    this.clear = how.clear ?? false;
    this.element = make("div", { class: `picks ${how.className ?? ""}` });
    for (const option of options) {
      const input = make("input", { type: "radio", name, value: option.value, onchange: () => changed() });
      this.inputs.set(option.value, input);
      const words = make("span", { class: "pick-text", dir: "auto", text: option.text });
      const label = make("label", { class: "pick" }, input, option.mark, words, option.sign);
      if (this.clear) this.letClear(label, input);
      this.element.append(label);
    }
  }

  /** @param {HTMLElement} label @param {HTMLInputElement} input */
  letClear(label, input) {
    let was = false;
    label.addEventListener("pointerdown", () => { was = input.checked; });
    input.addEventListener("click", () => {
      if (was && input.checked) {
        input.checked = false;
        this.changed();
      }
      was = false;
    });
  }

  /** @returns {string | null} */
  get value() {
    for (const [value, input] of this.inputs) if (input.checked) return value;
    return null;
  }

  set value(value) {
    for (const [name, input] of this.inputs) input.checked = name === value;
  }

  /** Choose, or take the choice back where that is allowed. @param {string} value */
  press(value) {
    this.value = this.clear && this.value === value ? null : value;
    this.changed();
  }

  /** @param {boolean} disabled */
  disable(disabled) {
    for (const input of this.inputs.values()) input.disabled = disabled;
    this.element.classList.toggle("off", disabled);
  }
}
