/** What is wrong with each completion: defects to tick, parts to mark, a note. */

import { LETTERS, inLine, make, t } from "../dom.js";
import { Marking } from "./marking.js";
import { Part, digitOf } from "./part.js";

/** @typedef {import("../sheet.js").Context} Context */
/** @typedef {import("./marking.js").Span} Span */
/** @typedef {import("./marking.js").Selected} Selected */

/** The label of a mark where the question names no defects; it is data, so it is in no language of the interface. */
const PROBLEM = "problem";

export class Critique {
  /** @param {any} field @param {Context} context */
  constructor(field, context) {
    this.field = field;
    this.reviews = context.slots.map((slot, place) => {
      const review = new Review(field, context, place);
      slot.append(make("div", { class: "judgement" }, review.part.element));
      return review;
    });
    this.parts = this.reviews.map((review) => review.part);
  }

  state() {
    const said = this.reviews.map((review) => review.value);
    return said.some(Boolean) ? said : null;
  }

  /** @param {any} state */
  restore(state) {
    this.reviews.forEach((review, place) => { review.value = state?.[place] ?? null; });
  }

  missing() {
    const open = this.field.required ? this.reviews.filter((review) => review.value === null) : [];
    return open.map(({ part }) => ({ part, message: t("need_critique") }));
  }

  close() {
    for (const review of this.reviews) review.marking?.close();
  }
}

class Review {
  /** @param {any} field @param {Context} context @param {number} place */
  constructor(field, context, place) {
    this.field = field;
    this.context = context;
    this.spans = /** @type {Span[]} */ ([]);
    this.selected = /** @type {Selected | null} */ (null);
    const about = t("completion", { name: LETTERS[place] });
    this.boxes = field.defects.map((/** @type {string} */ name) =>
      make("input", { type: "checkbox", value: name, onchange: () => this.changed() }));
    this.none = make("input", { type: "checkbox", onchange: () => this.sayNone() });
    const ticks = make("div", { class: "ticks" }, ...this.boxes.map((box, index) => tick(context, box, box.value, digitOf(index))));
    this.noneLabel = tick(context, this.none, t("nothing_wrong"), "0");
    this.list = make("ul", { class: "spans" });
    this.marker = make("div", { class: "marker", hidden: true });
    this.note = make("textarea", { dir: "auto", class: "writing", rows: 2, oninput: () => this.changed() });
    const noteBox = make("label", { class: "field" }, make("span", { class: "label", text: t("critique_note") }),
      make("span", { class: "writing-box" }, this.note, context.keys.sign("write")));
    this.marking = field.spans ? this.startMarking(place, about) : null;
    const help = inLine(field.help, field.spans && markingHelp(context));
    this.part = new Part({ label: field.label, help, optional: !field.required, about },
      ...(field.spans ? [this.marker, this.list] : []), ticks, this.noneLabel, ...(field.note ? [noteBox] : []));
    this.part.press = (key, action) => this.press(key, action);
    this.part.fill = (_, action) => (action === "write" ? this.press("", action) : "no");
  }

  /** @param {number} place @param {string} name */
  startMarking(place, name) {
    const text = this.context.showing.completions[place].text ?? "";
    const marking = new Marking(text, name, (selected) => this.offer(selected));
    this.context.offerInstead(place, marking.element);
    return marking;
  }

  /** @param {string} key @param {string} action @returns {"no" | "done" | "next"} */
  press(key, action) {
    if (action === "write" && this.field.note) {
      this.note.focus();
      return "done";
    }
    if (key === "0") {
      this.none.checked = !this.none.checked;
      this.sayNone();
      return this.none.checked ? "next" : "done";
    }
    const index = Number(key) - 1;
    if (!(index >= 0 && index < 9)) return "no";
    if (this.selected && (this.boxes[index] || (index === 0 && !this.boxes.length))) {
      this.mark(this.boxes[index]?.value ?? PROBLEM);
      return "done";
    }
    if (!this.boxes[index]) return "no";
    this.boxes[index].checked = !this.boxes[index].checked;
    this.changed();
    return "done";
  }

  /** Show what a selected part can be marked as. @param {Selected | null} selected */
  offer(selected) {
    this.selected = selected;
    this.marker.hidden = !selected;
    if (!selected) return;
    const labels = this.field.defects.length ? this.field.defects : [PROBLEM];
    const buttons = labels.map((/** @type {string} */ label, /** @type {number} */ index) =>
      make("button", { type: "button", class: "small", onclick: () => this.mark(label) },
        make("span", { dir: "auto", text: label === PROBLEM && !this.field.defects.length ? t("mark_it") : label }),
        digitOf(index) && this.context.keys.fixedSign(digitOf(index))));
    const quoted = make("q", { dir: "auto", text: shortened(this.marking?.excerpt(selected) ?? "") });
    this.marker.replaceChildren(make("span", {}, `${t("mark_as")} `, quoted), make("div", { class: "row" }, ...buttons));
    this.context.arrive(this.part);
  }

  /** @param {string} label */
  mark(label) {
    if (!this.selected) return;
    const span = { ...this.selected, label, note: "" };
    const same = (/** @type {Span} */ one) => one.start === span.start && one.end === span.end && one.label === label;
    if (!this.spans.some(same)) this.spans = [...this.spans, span].sort((a, b) => a.start - b.start || a.end - b.end);
    for (const box of this.boxes) if (box.value === label) box.checked = true;
    getSelection()?.removeAllRanges();
    this.offer(null);
    this.showSpans();
    this.changed();
  }

  showSpans() {
    this.marking?.show(this.spans);
    this.list.replaceChildren(...this.spans.map((span, index) => {
      const excerpt = shortened(this.marking?.excerpt(span) ?? "");
      const note = make("input", {
        type: "text", dir: "auto", value: span.note, placeholder: t("span_note"), "aria-label": t("span_note_for", { text: excerpt }),
        oninput: (/** @type {Event} */ event) => {
          span.note = /** @type {HTMLInputElement} */ (event.target).value;
          this.changed();
        },
      });
      const remove = make("button", {
        type: "button", class: "quiet small", "aria-label": t("span_remove", { text: excerpt }),
        onclick: () => {
          this.spans = this.spans.filter((one) => one !== span);
          this.showSpans();
          this.changed();
          this.part.focus();
        },
      }, t("remove"));
      const label = span.label === PROBLEM && !this.field.defects.length ? t("problem") : span.label;
      return make("li", {}, make("span", { class: "rank-number", text: String(index + 1) }),
        make("span", { class: "span-words" }, make("q", { dir: "auto", text: excerpt }), " ",
          make("span", { class: "badge", dir: "auto", text: label })), note, remove);
    }));
  }

  sayNone() {
    if (this.none.checked) {
      for (const box of this.boxes) box.checked = false;
      this.spans = [];
      this.showSpans();
    }
    this.changed();
  }

  changed() {
    if (this.boxes.some((box) => box.checked) || this.spans.length) this.none.checked = false;
    this.context.changed();
  }

  get value() {
    const defects = this.boxes.filter((box) => box.checked).map((box) => box.value);
    const note = this.note.value;
    if (!defects.length && !this.spans.length && !note.trim() && !this.none.checked) return null;
    return { defects, spans: this.spans, note };
  }

  set value(value) {
    for (const box of this.boxes) box.checked = Boolean(value?.defects.includes(box.value));
    this.spans = (value?.spans ?? []).map((/** @type {Span} */ span) => ({ ...span }));
    this.note.value = value?.note ?? "";
    this.none.checked = Boolean(value && !value.defects.length && !value.spans.length && !value.note.trim());
    this.showSpans();
  }
}

/** How a part of the text is marked: one that is shown formatted has to be opened for it first. @param {Context} context */
const markingHelp = ({ showing }) =>
  showing.form.reading === "plain" ? t("marking_help") : t("marking_help_after", { button: t("mark_parts") });

/** @param {Context} context @param {HTMLInputElement} box @param {string} text @param {string} digit */
function tick(context, box, text, digit) {
  return make("label", { class: "pick" }, box, make("span", { class: "pick-text", dir: "auto", text }),
    digit && context.keys.fixedSign(digit));
}

/** @param {string} text */
const shortened = (text) => (text.length > 80 ? `${text.slice(0, 79)}…` : text);
