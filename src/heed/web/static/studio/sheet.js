/** The form of one item, filled in: its parts in the order of the screen, the one that keys go to, and what they come to. */

import { inLine, make, reveal, t } from "./dom.js";
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
    /** Parts that say what they need. @type {Part[]} */
    this.wrong = [];
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
    if (this.wrong.length) this.mark(this.gaps().filter(({ part }) => this.wrong.includes(part)));
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
    const result = this.parts[this.current]?.press(key, action) ?? "no";
    if (result === "next") this.move(1);
    return result !== "no" || this.fill(key, action);
  }

  /**
   * A key that means nothing to the marked part may fill a gap elsewhere: before it, the nearest first, then after it.
   * @param {string} key @param {string} action @returns {boolean} whether it did
   */
  fill(key, action) {
    const others = [...this.parts.slice(0, this.current).reverse(), ...this.parts.slice(this.current + 1)];
    for (const part of others) {
      const result = part.fill(key, action);
      if (result === "no") continue;
      if (result === "next") {
        this.point(this.parts.indexOf(part));
        this.move(1);
      }
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
    this.mark([]);
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

  /** @returns {boolean} whether it can be sent; if not, every gap says what it needs, and the first has the focus */
  complete() {
    const gaps = this.gaps();
    if (!gaps.length && Object.keys(this.state?.fields ?? {}).length) return true;
    this.mark(gaps.length ? gaps : [{ part: this.parts[0], message: t("need_something") }]);
    this.go(this.wrong[0]);
    return false;
  }

  /** @returns {import("./fields/part.js").Missing[]} in the order of the screen */
  gaps() {
    return this.fields.flatMap(([, field]) => field.missing()).sort((one, other) => inDocument(one.part, other.part));
  }

  /** Let these parts say what they need, and no others. @param {import("./fields/part.js").Missing[]} gaps */
  mark(gaps) {
    for (const part of this.wrong) part.complain("");
    for (const { part, message } of gaps) part.complain(message);
    this.wrong = gaps.map(({ part }) => part);
  }

  /** What the rater is asked about before this is sent; "" for nothing. @returns {string} */
  doubt() {
    return inLine(...this.fields.map(([, field]) => field.doubt?.() ?? ""));
  }

  close() {
    for (const [, field] of this.fields) field.close?.();
  }
}

/** @param {Part} one @param {Part} other */
function inDocument(one, other) {
  return one.element.compareDocumentPosition(other.element) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1;
}
