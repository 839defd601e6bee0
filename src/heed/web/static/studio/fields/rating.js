/** Scores of each completion: points to pick, or a slider. */

import { LETTERS, freshId, make, t } from "../dom.js";
import { Choices } from "./choices.js";
import { Part } from "./part.js";

/** @typedef {import("../sheet.js").Context} Context */
/** @typedef {{part: Part, get: () => number | null, set: (score: number | null) => void}} Scale */

export class Rating {
  /** @param {any} field @param {Context} context */
  constructor(field, context) {
    this.field = field;
    // One scale that is called what the field is called says it once.
    const same = field.attributes.length === 1 && field.attributes[0].label === field.label;
    /** @type {Scale[][]} for each completion, for each attribute */
    this.scales = context.slots.map((slot, place) =>
      field.attributes.map((/** @type {any} */ attribute) => {
        const about = t("completion", { name: LETTERS[place] });
        const words = { label: attribute.label, help: same ? field.help : "", optional: !field.required, about };
        const build = attribute.style === "slider" ? slider : points;
        return build(attribute, words, context);
      }),
    );
    this.parts = [];
    this.scales.forEach((scales, place) => {
      const caption = !same && make("p", { class: "field-label", dir: "auto", text: field.label });
      const help = !same && field.help && make("p", { class: "help", dir: "auto", text: field.help });
      const box = make("div", { class: "judgement" }, caption, help, ...scales.map((scale) => scale.part.element));
      context.slots[place].append(box);
      this.parts.push(...scales.map((scale) => scale.part));
    });
  }

  state() {
    const said = this.scales.map((scales) => {
      const scores = /** @type {Record<string, number>} */ ({});
      scales.forEach((scale, index) => {
        const score = scale.get();
        if (score !== null) scores[this.field.attributes[index].name] = score;
      });
      return Object.keys(scores).length ? scores : null;
    });
    return said.some(Boolean) ? said : null;
  }

  /** @param {any} state */
  restore(state) {
    this.scales.forEach((scales, place) => {
      scales.forEach((scale, index) => scale.set(state?.[place]?.[this.field.attributes[index].name] ?? null));
    });
  }

  missing() {
    const open = this.field.required ? this.scales.flat().filter((scale) => scale.get() === null) : [];
    return open.map(({ part }) => ({ part, message: t("need_score") }));
  }
}

/** @param {any} attribute @param {any} words @param {Context} context @returns {Scale} */
function points(attribute, words, context) {
  const count = Math.round((attribute.high - attribute.low) / attribute.step) + 1;
  const scores = Array.from({ length: count }, (_, index) => tidy(attribute.low + index * attribute.step));
  const digits = digitsOf(scores);
  const choices = new Choices(
    scores.map((score, index) => {
      const text = String(score);
      // Where key and score are one sign, the score is written as the key.
      const same = digits[index] === text;
      return { value: text, text: same ? "" : text, sign: digits[index] ? context.keys.fixedSign(digits[index]) : null };
    }),
    context.changed,
    { clear: words.optional, className: "points" },
  );
  [...choices.inputs].forEach(([value, input], index) => {
    const end = index === 0 ? attribute.low_label : index === count - 1 ? attribute.high_label : "";
    input.setAttribute("aria-label", end ? `${value}: ${end}` : value);
    // Seen where single keys are off and the sign of the key is gone.
    if (digits[index] === value) input.after(make("span", { class: "pick-text score", "aria-hidden": "true", text: value }));
  });
  const ends = make("div", { class: "ends" }, make("span", { dir: "auto", text: attribute.low_label }),
    make("span", { dir: "auto", text: attribute.high_label }));
  const part = new Part({ ...words, role: "radiogroup" }, choices.element, ...(ends.textContent ? [ends] : []));
  part.press = (key) => {
    const index = digits.indexOf(key);
    if (index < 0 || !key) return "no";
    choices.press(String(scores[index]));
    return choices.value === null ? "done" : "next";
  };
  return {
    part,
    get: () => (choices.value === null ? null : Number(choices.value)),
    set: (score) => { choices.value = score === null ? null : String(tidy(score)); },
  };
}

/** @param {any} attribute @param {any} words @param {Context} context @returns {Scale} */
function slider(attribute, words, context) {
  const id = freshId();
  let set = false;
  const input = make("input", {
    type: "range", id, min: attribute.low, max: attribute.high, step: attribute.step ?? "any",
  });
  if (attribute.step === null) input.step = String((attribute.high - attribute.low) / 100);
  const output = make("output", { for: id, class: "slider-value" });
  const show = () => {
    output.textContent = set ? String(tidy(Number(input.value))) : "–";
    input.classList.toggle("unset", !set);
    input.setAttribute("aria-valuetext", set ? output.textContent : t("no_score"));
  };
  const touch = () => {
    set = true;
    show();
    context.changed();
  };
  input.addEventListener("input", touch);
  // A press that happens to hit the middle moves nothing, and is an answer all the same.
  input.addEventListener("pointerup", touch);
  const ends = make("div", { class: "ends" },
    make("span", { dir: "auto", text: attribute.low_label || attribute.low }),
    make("span", { dir: "auto", text: attribute.high_label || attribute.high }));
  const row = make("div", { class: "slider" }, input, output, context.keys.fixedSign("ArrowLeft"), context.keys.fixedSign("ArrowRight"));
  const part = new Part(words, row, ends);
  input.setAttribute("aria-labelledby", part.labelId);
  part.landing = input;
  part.press = (key) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return "no";
    if (document.activeElement !== input) {
      if (key === "ArrowLeft") input.stepDown();
      else input.stepUp();
      touch();
      return "done";
    }
    return "no";
  };
  show();
  return {
    part,
    get: () => (set ? tidy(Number(input.value)) : null),
    set: (score) => {
      set = score !== null;
      input.value = String(score ?? (attribute.low + attribute.high) / 2);
      show();
    },
  };
}

/** Without the dust of binary fractions. @param {number} score @returns {number} */
const tidy = (score) => Number(score.toPrecision(9));

/** The key of each score: its own digit where all have one, else digits from the left. @param {number[]} scores @returns {string[]} */
function digitsOf(scores) {
  if (scores.every((score) => Number.isInteger(score) && score >= 0 && score <= 9)) return scores.map(String);
  return scores.map((_, index) => (index < 9 ? String(index + 1) : index === 9 ? "0" : ""));
}
