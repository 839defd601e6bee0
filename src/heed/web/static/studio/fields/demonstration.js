/** The rater's own answer to the prompt. */

import { make, t } from "../dom.js";
import { Part } from "./part.js";

/** @typedef {import("../sheet.js").Context} Context */

export class Demonstration {
  /** @param {any} field @param {Context} context */
  constructor(field, context) {
    this.field = field;
    this.area = make("textarea", { dir: "auto", class: "writing tall", oninput: () => context.changed() });
    this.part = new Part(
      { label: field.label, help: field.help, optional: !field.required },
      make("div", { class: "writing-box" }, this.area, context.keys.sign("write")),
    );
    this.area.setAttribute("aria-labelledby", this.part.labelId);
    this.part.press = this.part.fill = (_, action) => {
      if (action !== "write") return "no";
      this.area.focus();
      return "done";
    };
    this.parts = [this.part];
  }

  state() {
    return this.area.value || null;
  }

  /** @param {any} state */
  restore(state) {
    this.area.value = state ?? "";
  }

  missing() {
    return this.field.required && !this.area.value.trim() ? [{ part: this.part, message: t("need_text") }] : [];
  }
}
