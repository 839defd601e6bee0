/**
 * One stop on the way through an item: something to choose, tick or write, about the item or about one completion.
 *
 * A field is a class with `parts` (in the order of the screen), `state()` (what is there, complete or not; null for nothing)
 * and `restore(state)` (also of an answer that stands), and `missing()` (all that is still needed, each at its part).
 * `doubt()`, where there is one, is what a rater is asked about before the answer is sent.
 */

import { freshId, make, optionalSign } from "../dom.js";

/** @typedef {import("../sheet.js").Context} Context */
/** @typedef {{part: Part, message: string}} Missing */

export class Part {
  /**
   * @param {{label: string, help?: string, optional?: boolean, role?: string, about?: string}} words
   *   `about`: the completion that it is about, for those who do not see where it stands
   * @param {...Node} content
   */
  constructor(words, ...content) {
    const id = freshId();
    this.label = words.label;
    const about = words.about && make("span", { class: "visually-hidden", text: `${words.about}: ` });
    this.error = make("p", { class: "field-error", id: `${id}-error`, hidden: true });
    const title = make("p", { class: "part-label", id }, about, make("span", { dir: "auto", text: words.label }),
      ...(words.optional ? optionalSign() : []));
    const help = words.help ? make("p", { class: "help", id: `${id}-help`, dir: "auto", text: words.help }) : null;
    this.element = make(
      "div",
      {
        class: "part",
        role: words.role ?? "group",
        tabindex: "-1",
        "aria-labelledby": id,
        "aria-describedby": [help && `${id}-help`, `${id}-error`].filter(Boolean).join(" "),
      },
      title,
      help,
      ...content,
      this.error,
    );
    this.labelId = id;
    /**
     * What a key does here. @type {(key: string, action: string) => "no" | "done" | "next"}
     * "next": this part has its answer, on to the next
     */
    this.press = () => "no";
    /**
     * What a key does here while another part is marked: it may fill a gap, and never changes what was answered.
     * @type {(key: string, action: string) => "no" | "done" | "next"} "done": the mark stays where it is; "next": it comes here
     */
    this.fill = () => "no";
    /** What has the focus when one comes here; null for the part itself. @type {HTMLElement | null} */
    this.landing = null;
  }

  /** @param {string} message "" for none */
  complain(message) {
    this.error.textContent = message;
    this.error.hidden = !message;
    this.element.classList.toggle("wrong", Boolean(message));
  }

  focus() {
    (this.landing ?? this.element).focus({ preventScroll: true });
  }
}

/** The digit that stands for place `index` of `count`, from 1; "" beyond the tenth. @param {number} index @returns {string} */
export const digitOf = (index) => (index < 9 ? String(index + 1) : index === 9 ? "0" : "");
