/** Each completion as it should read, with what was changed shown word by word. */

import { diffWords } from "../diff.js";
import { LETTERS, make, t } from "../dom.js";
import { Part } from "./part.js";

/** @typedef {import("../sheet.js").Context} Context */

const PAUSE = 120;

export class Edit {
  /** @param {any} field @param {Context} context */
  constructor(field, context) {
    this.field = field;
    this.editors = context.slots.map((slot, place) => {
      const editor = new Editor(field, context, place);
      slot.append(make("div", { class: "judgement" }, editor.part.element));
      return editor;
    });
    this.parts = this.editors.map((editor) => editor.part);
  }

  state() {
    const said = this.editors.map((editor) => editor.value);
    return said.some((one) => one !== null) ? said : null;
  }

  /** @param {any} state */
  restore(state) {
    this.editors.forEach((editor, place) => { editor.value = state?.[place] ?? null; });
  }

  missing() {
    return this.editors.flatMap(({ part, text, value }) => {
      if (!text.trim()) return [{ part, message: t("need_text") }];
      return this.field.required && value === null ? [{ part, message: t("need_edit") }] : [];
    });
  }
}

class Editor {
  /** @param {any} field @param {Context} context @param {number} place */
  constructor(field, context, place) {
    this.original = context.showing.completions[place].text ?? "";
    // What a text box makes of line ends is no change of the rater's.
    this.plain = this.original.replace(/\r\n?/g, "\n");
    this.area = make("textarea", { dir: "auto", class: "writing", oninput: () => this.typed(context) });
    this.area.value = this.plain;
    this.same = make("input", { type: "checkbox", onchange: () => this.ticked(context) });
    this.diff = make("div", { class: "diff", dir: "auto", role: "group", "aria-label": t("changes") });
    this.count = make("p", { class: "help" });
    this.reset = make("button", { type: "button", class: "quiet small", onclick: () => this.undo(context) }, t("edit_reset"));
    const about = t("completion", { name: LETTERS[place] });
    const sign = context.keys.sign("write");
    this.part = new Part(
      { label: field.label, help: field.help, optional: !field.required, about },
      make("div", { class: "writing-box" }, this.area, sign),
      make("label", { class: "choice" }, this.same, make("span", { text: t("edit_same") })),
      this.diff,
      make("div", { class: "row spread" }, this.count, this.reset),
    );
    this.area.setAttribute("aria-labelledby", this.part.labelId);
    this.part.press = this.part.fill = (_, action) => {
      if (action !== "write") return "no";
      this.area.focus();
      return "done";
    };
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.show();
  }

  get text() {
    return this.area.value;
  }

  get edited() {
    return this.area.value !== this.plain;
  }

  /** @returns {string | null} the original itself where nothing is to be mended, null where nothing was said */
  get value() {
    if (this.edited) return this.area.value;
    return this.same.checked ? this.original : null;
  }

  set value(text) {
    this.area.value = text === null || text === this.original ? this.plain : text;
    this.same.checked = text === this.original;
    this.show();
  }

  /** @param {Context} context */
  typed(context) {
    if (this.edited) this.same.checked = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.show(), PAUSE);
    context.changed();
  }

  /** @param {Context} context */
  ticked(context) {
    if (this.same.checked && this.edited) this.same.checked = false;
    context.changed();
  }

  /** @param {Context} context */
  undo(context) {
    this.area.value = this.plain;
    this.show();
    this.area.focus();
    context.changed();
  }

  show() {
    this.diff.hidden = this.count.hidden = this.reset.hidden = !this.edited;
    this.same.disabled = this.edited;
    if (!this.edited) return;
    const pieces = diffWords(this.plain, this.area.value);
    this.diff.replaceChildren(
      ...pieces.map(({ kind, text }) => (kind === "same" ? document.createTextNode(text) : make(kind, { text }))),
    );
    const words = (/** @type {string} */ kind) =>
      pieces.filter((piece) => piece.kind === kind).reduce((sum, { text }) => sum + (text.match(/[\p{L}\p{N}]+/gu)?.length ?? 0), 0);
    this.count.textContent = t("edit_count", { taken: words("del"), put: words("ins") });
  }
}
