/** Good or not, for each completion. */

import { LETTERS, icon, make, t } from "../dom.js";
import { Choices } from "./choices.js";
import { Part } from "./part.js";

/** @typedef {import("../sheet.js").Context} Context */

const UP = "M7 11v9H4v-9zM7 11l4-7c1.4 0 2.3 1 2 2.5L12.4 10H18c1.3 0 2.2 1.2 1.9 2.4l-1.5 6c-.2.9-1 1.6-2 1.6H7";
const DOWN = "M7 13V4H4v9zM7 13l4 7c1.4 0 2.3-1 2-2.5L12.4 14H18c1.3 0 2.2-1.2 1.9-2.4l-1.5-6c-.2-.9-1-1.6-2-1.6H7";

export class Thumb {
  /** @param {any} field @param {Context} context */
  constructor(field, context) {
    this.field = field;
    this.choices = context.slots.map(
      () =>
        new Choices(
          [
            { value: "up", text: t("thumb_up"), sign: context.keys.sign("up"), mark: icon(UP) },
            { value: "down", text: t("thumb_down"), sign: context.keys.sign("down"), mark: icon(DOWN) },
          ],
          context.changed,
          { clear: !field.required, className: "wide-picks" },
        ),
    );
    this.parts = this.choices.map((choices, place) => {
      const about = t("completion", { name: LETTERS[place] });
      const words = { label: field.label, help: field.help, optional: !field.required, about, role: "radiogroup" };
      const part = new Part(words, choices.element);
      part.press = (_, action) => {
        if (action !== "up" && action !== "down") return "no";
        choices.press(action);
        return choices.value === null ? "done" : "next";
      };
      part.fill = (key, action) => (choices.value === null ? part.press(key, action) : "no");
      context.slots[place].append(make("div", { class: "judgement" }, part.element));
      return part;
    });
  }

  state() {
    const said = this.choices.map((choices) => (choices.value === null ? null : choices.value === "up"));
    return said.some((one) => one !== null) ? said : null;
  }

  /** @param {any} state */
  restore(state) {
    this.choices.forEach((choices, place) => {
      const up = state?.[place] ?? null;
      choices.value = up === null ? null : up ? "up" : "down";
    });
  }

  missing() {
    const open = this.parts.filter((_, place) => this.field.required && this.choices[place].value === null);
    return open.map((part) => ({ part, message: t("need_choice") }));
  }
}
