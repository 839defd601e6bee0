/** What is to be judged: the prompt and the completions, as the server rendered them. */

import { LETTERS, make, t } from "./dom.js";

/**
 * @typedef {{role: string, html: string, dir?: string}} Turn
 * @typedef {{html: string, text?: string | null, dir?: string}} Completion
 * @typedef {{
 *   id: string, expires: string, form: any, form_version: number, prompt: Turn[], completions: Completion[],
 *   draft: {draft: any, revision: number} | null, training: boolean, reopened: boolean, answer: any, confidence: number | null, note: string,
 *   progress: {answered: number, place: number | null, of: number | null},
 * }} Showing
 */

export class Item {
  /** @param {Showing} showing */
  constructor(showing) {
    const several = showing.completions.length > 1;
    this.plain = showing.form.reading === "plain";
    this.prompt = make("section", { class: "prompt" }, heading(t("prompt")), ...showing.prompt.map((turn) => this.turn(turn)));
    /** @type {HTMLElement[]} where a completion is read */
    this.bodies = [];
    /** @type {HTMLElement[]} where what is asked of it goes */
    this.slots = [];
    const articles = showing.completions.map((completion, place) => {
      const name = LETTERS[place];
      const text = rendered(completion, this.plain);
      const slot = make("div", { class: "slot" });
      const title = make("h3", { class: "completion-name" },
        several ? make("span", { class: "letter", "aria-hidden": "true", text: name }) : null,
        make("span", { class: several ? "visually-hidden" : "", text: several ? t("completion", { name }) : t("answer") }));
      const article = make("article", { class: "completion" }, title, text, slot);
      this.bodies.push(article);
      this.slots.push(slot);
      return article;
    });
    const grid = make("div", { class: `completions of-${Math.min(articles.length, 3)}` }, ...articles);
    this.completions = make("section", {}, heading(t("answers")), grid);
    this.room = make("div", { class: "questions" });
    this.element = make("div", { class: "item" }, this.prompt, articles.length ? this.completions : null, this.room);
  }

  /** @param {Turn} turn */
  turn(turn) {
    const known = ["system", "user", "assistant"].includes(turn.role);
    return make("div", { class: `turn ${known ? turn.role : ""}` },
      make("h3", { class: "turn-role", text: known ? t(`role.${turn.role}`) : turn.role }), rendered(turn));
  }

  /**
   * Let a completion be read in another form, in which its parts can be marked: at once where it is shown as it was written,
   * else by a button.
   * @param {number} place
   * @param {HTMLElement} other
   */
  offerInstead(place, other) {
    const text = /** @type {HTMLElement} */ (this.bodies[place].querySelector(".rendered"));
    text.hidden = this.plain;
    other.hidden = !this.plain;
    text.after(other);
    if (this.plain) return;
    const button = make("button", { type: "button", class: "small instead", "aria-pressed": "false" }, t("mark_parts"));
    button.addEventListener("click", () => {
      text.hidden = !text.hidden;
      other.hidden = !text.hidden;
      button.setAttribute("aria-pressed", String(text.hidden));
      if (text.hidden) other.focus({ preventScroll: true });
    });
    other.after(button);
  }
}

/** For those who move from heading to heading. @param {string} text */
const heading = (text) => make("h2", { class: "visually-hidden", text });

/**
 * The only place where HTML goes into the page: the server has reduced it to what texts need. Where it could not format a text
 * that was to be formatted, a line below says so.
 * @param {Turn | Completion} part
 * @param {boolean} [asWritten] whether it was asked for as it was written
 */
function rendered(part, asWritten = false) {
  const element = make("div", { class: "rendered", dir: part.dir || "auto" });
  element.innerHTML = part.html;
  if (!asWritten && element.firstElementChild?.classList.contains("plain")) {
    element.append(make("p", { class: "help", dir: "ltr", text: t("as_written") }));
  }
  return element;
}
