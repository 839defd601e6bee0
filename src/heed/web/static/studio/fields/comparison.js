/** Which of two is better, and by how much. */

import { LETTERS, make, optionalSign, t } from "../dom.js";
import { Choices } from "./choices.js";
import { Part } from "./part.js";

/** @typedef {import("../sheet.js").Context} Context */

const STRENGTHS = /** @type {const} */ (["slightly", "clearly", "much"]);

export class Comparison {
  /** @param {any} field @param {Context} context */
  constructor(field, context) {
    this.field = field;
    this.context = context;
    const names = ["left", "right", ...(field.tie ? ["tie"] : []), ...(field.both_bad ? ["both_bad"] : [])];
    const texts = { left: t("better", { name: LETTERS[0] }), right: t("better", { name: LETTERS[1] }) };
    this.choice = new Choices(
      names.map((value) => ({ value, text: texts[value] ?? t(value), sign: context.keys.sign(value) })),
      () => this.chosen(),
      { clear: !field.required, className: "wide-picks" },
    );
    this.strength = new Choices(
      STRENGTHS.map((name, index) => ({ value: String(index + 1), text: t(name), sign: context.keys.sign(name) })),
      () => context.changed(),
      { clear: true, className: "wide-picks" },
    );
    const steps = make("div", { class: "strength", role: "group", "aria-label": t("how_much") },
      make("p", { class: "help" }, t("how_much"), ...optionalSign()), this.strength.element);
    const words = { label: field.label, help: field.help, optional: !field.required };
    this.part = new Part(words, this.choice.element, ...(field.strength ? [steps] : []));
    this.part.press = (_, action) => this.press(action);
    this.part.fill = (_, action) => this.fill(action);
    this.parts = [this.part];
    this.show();
  }

  /** @param {string} action @returns {"no" | "done" | "next"} */
  press(action) {
    if (this.choice.inputs.has(action)) {
      this.choice.press(action);
      return this.choice.value === null ? "done" : "next";
    }
    const step = STRENGTHS.indexOf(/** @type {any} */ (action));
    if (step < 0 || !this.field.strength || !this.winner) return "no";
    this.strength.press(String(step + 1));
    return "next";
  }

  /** By how much is said when the mark has moved on already. @param {string} action @returns {"no" | "done" | "next"} */
  fill(action) {
    if (this.choice.inputs.has(action)) return this.choice.value === null ? this.press(action) : "no";
    return this.strength.value === null && this.press(action) !== "no" ? "done" : "no";
  }

  get winner() {
    return this.choice.value === "left" || this.choice.value === "right";
  }

  chosen() {
    if (!this.winner) this.strength.value = null;
    this.show();
    this.context.changed();
  }

  show() {
    this.strength.disable(!this.winner);
    this.context.bodies.forEach((body, place) => {
      body.classList.toggle("chosen", this.choice.value === (place === 0 ? "left" : "right"));
    });
  }

  state() {
    if (!this.choice.value) return null;
    return { choice: this.choice.value, strength: this.strength.value ? Number(this.strength.value) : null };
  }

  /** @param {any} state */
  restore(state) {
    this.choice.value = state?.choice ?? null;
    this.strength.value = state?.strength ? String(state.strength) : null;
    this.show();
  }

  missing() {
    return this.field.required && !this.choice.value ? [{ part: this.part, message: t("need_choice") }] : [];
  }
}
