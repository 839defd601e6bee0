/** What a training item's answer should have been, and why. */

import { LETTERS, make, t } from "./dom.js";

/** @typedef {import("./item.js").Showing} Showing */

/**
 * @param {Showing} showing
 * @param {{correct: boolean, explanation_html: string, expected: Record<string, any> | null}} feedback
 * @returns {HTMLElement}
 */
export function explanation(showing, feedback) {
  const title = make("h2", { text: feedback.correct ? t("training_right") : t("training_wrong") });
  const lines = showing.form.fields.flatMap((/** @type {any} */ field) => {
    const wanted = feedback.expected?.[field.name];
    return wanted ? [[field.label, describe(field, wanted)]] : [];
  });
  const list = make("dl", { class: "pairs" }, ...lines.flatMap(([label, said]) => [
    make("dt", { dir: "auto", text: label }), ...said.map((text) => make("dd", { dir: "auto", text }))]));
  const why = make("div", { dir: "auto" });
  why.innerHTML = feedback.explanation_html; // reduced by the server to what texts need
  return make("section", { class: `notice ${feedback.correct ? "good" : "warn"} explanation`, tabindex: "-1", "aria-label": t("training") },
    title, lines.length ? make("p", { class: "label", text: t("training_expected") }) : null, lines.length ? list : null, why);
}

/** An answer in words, a line for each completion where each has its own. @param {any} field @param {any} value @returns {string[]} */
function describe(field, value) {
  switch (field.kind) {
    case "comparison":
      if (value.choice === "left" || value.choice === "right") return [t("better", { name: LETTERS[value.choice === "left" ? 0 : 1] })];
      return [t(value.choice)];
    case "ranking":
      return [value.groups.map((/** @type {number[]} */ group) => group.map((place) => LETTERS[place]).join(" = ")).join(" > ")];
    case "thumb":
      return each(value, (up) => t(up ? "thumb_up" : "thumb_down"));
    case "rating": {
      const names = Object.fromEntries(field.attributes.map((/** @type {any} */ one) => [one.name, one.label]));
      return each(value, (scores) => Object.entries(scores).map(([name, score]) => `${names[name]} ${score}`).join(", "));
    }
    case "critique":
      return each(value, (one) => one.defects.join(", ") || t("nothing_wrong"));
    default:
      return [String(value)];
  }
}

/** @param {any[]} values @param {(value: any) => string} say @returns {string[]} */
function each(values, say) {
  return values.flatMap((value, place) => (value === null ? [] : [t("said_of", { name: LETTERS[place], said: say(value) })]));
}
