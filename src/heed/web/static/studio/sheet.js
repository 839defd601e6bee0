/** The form of one item, filled in: its parts in the order of the screen, the one that keys go to, and what they come to. */

import { make, reveal, t } from "./dom.js";
import { Comparison } from "./fields/comparison.js";
import { Confidence } from "./fields/confidence.js";
import { Critique } from "./fields/critique.js";
import { Demonstration } from "./fields/demonstration.js";
import { Edit } from "./fields/edit.js";
import { Ranking } from "./fields/ranking.js";
import { Rating } from "./fields/rating.js";
import { Thumb } from "./fields/thumb.js";

/**
 * @typedef {import("./fields/part.js").Part} Part
 * @typedef {import("./item.js").Item} Item
 * @typedef {import("./item.js").Showing} Showing
 * @typedef {import("./keys.js").Keys} Keys
 * @typedef {{
 *   showing: Showing, keys: Keys, bodies: HTMLElement[], slots: HTMLElement[], changed: () => void,
 *   arrive: (part: Part) => void, offerInstead: (place: number, element: HTMLElement) => void,
 * }} Context
 * @typedef {{fields: Record<string, any>, confidence: number | null, note: string}} State
 */

const KINDS = /** @type {Record<string, any>} */ ({
  comparison: Comparison, rating: Rating, ranking: Ranking, thumb: Thumb, edit: Edit, demonstration: Demonstration,
  critique: Critique,
});

export class Sheet {
  /** @param {Showing} showing @param {Item} item @param {Keys} keys @param {() => void} changed by the person */
  constructor(showing, item, keys, changed) {
    this.current = 0;
    /** @type {Context} */
    const context = {
      showing, keys, bodies: item.bodies, slots: item.slots, changed: () => this.changed(changed),
      arrive: (part) => this.point(this.parts.indexOf(part)),
      offerInstead: (place, element) => item.offerInstead(place, element),
    };
    /** @type {[string, any][]} */
    this.fields = showing.form.fields.map((/** @type {any} */ field) => [field.name, new KINDS[field.kind](field, context)]);
    this.confidence = showing.form.ask_confidence ? new Confidence(context) : null;
    this.note = make("textarea", { dir: "auto", rows: 2, class: "writing", oninput: () => context.changed() });
    const all = [...this.fields.map(([, field]) => field), ...(this.confidence ? [this.confidence] : [])];
    for (const field of all) {
      // What is asked of each completion has placed itself beneath it.
      if (field.element) item.room.append(field.element);
      else if (!item.element.contains(field.parts[0]?.element)) {
        item.room.append(make("div", { class: "judgement" }, field.parts[0].element));
      }
    }
    this.noteBox = make("details", { class: "more note" }, make("summary", { text: t("note") }),
      make("label", { class: "field" }, make("span", { class: "help", text: t("note_help") }), this.note));
    item.room.append(this.noteBox);
    /** @type {Part[]} */
    this.parts = all.flatMap((field) => field.parts).sort(inDocument);
    this.parts.forEach((part, index) => {
      for (const name of ["focusin", "pointerdown"]) part.element.addEventListener(name, () => this.point(index));
    });
    keys.showAll(item.element);
    this.point(0);
  }

  /** @param {() => void} tell */
  changed(tell) {
    for (const part of this.parts ?? []) part.complain("");
    tell();
  }

  /** Make a part the one that keys go to. @param {number} index */
  point(index) {
    if (index < 0 || index >= this.parts.length) return;
    this.parts[this.current]?.element.classList.remove("current");
    this.current = index;
    // Where there is only one, nothing has to be told apart.
    if (this.parts.length > 1) this.parts[index].element.classList.add("current");
  }

  /** Go on to another part. @param {number} step @returns {boolean} whether there was one */
  move(step) {
    const index = this.current + step;
    if (index < 0 || index >= this.parts.length) return false;
    this.go(this.parts[index]);
    return true;
  }

  /** @param {Part} part */
  go(part) {
    this.point(this.parts.indexOf(part));
    part.focus();
    reveal(part.element);
  }

  /** @param {string} key @param {string} action @returns {boolean} whether it meant anything to a part */
  press(key, action) {
    const here = this.parts[this.current];
    // A named key finds its part from anywhere; a digit belongs to where one is.
    const others = action ? this.parts.filter((part) => part !== here) : [];
    for (const part of here ? [here, ...others] : []) {
      const result = part.press(key, action);
      if (result === "no") continue;
      if (part !== here) this.point(this.parts.indexOf(part));
      if (result === "next") this.move(1);
      return true;
    }
    return false;
  }

  /** @returns {State | null} all that is there; null for an empty form */
  get state() {
    const fields = /** @type {Record<string, any>} */ ({});
    for (const [name, field] of this.fields) {
      const value = field.state();
      if (value !== null) fields[name] = value;
    }
    const confidence = this.confidence?.state() ?? null;
    const note = this.note.value;
    return Object.keys(fields).length || confidence !== null || note ? { fields, confidence, note } : null;
  }

  /** @param {Partial<State> | null} state */
  restore(state) {
    for (const [name, field] of this.fields) {
      try {
        field.restore(state?.fields?.[name] ?? null);
      } catch {
        field.restore(null); // a draft of an older version of the question
      }
    }
    this.confidence?.restore(state?.confidence);
    this.note.value = state?.note ?? "";
    this.noteBox.open = Boolean(this.note.value);
  }

  /** @returns {boolean} whether it can be sent; if not, the first gap says what it needs and has the focus */
  complete() {
    const gap = this.fields.map(([, field]) => field.missing()).filter(Boolean)
      .sort((one, other) => inDocument(one.part, other.part))[0];
    if (!gap && this.state && Object.keys(this.state.fields).length) return true;
    const part = gap?.part ?? this.parts[0];
    part.complain(gap?.message ?? t("need_something"));
    this.go(part);
    return false;
  }

  close() {
    for (const [, field] of this.fields) field.close?.();
  }
}

/** @param {Part} one @param {Part} other */
function inDocument(one, other) {
  return one.element.compareDocumentPosition(other.element) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1;
}
