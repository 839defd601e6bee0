/** Completions in order: a rank for each by key or button, or names dragged to their place. Both show the same. */

import { LETTERS, inLine, make, optionalSign, t } from "../dom.js";
import { Choices } from "./choices.js";
import { dragging } from "./drag.js";
import { Part } from "./part.js";

/** @typedef {import("../sheet.js").Context} Context */

const NONE = "none";

export class Ranking {
  /** @param {any} field @param {Context} context */
  constructor(field, context) {
    this.field = field;
    this.context = context;
    this.count = context.bodies.length;
    this.choices = context.bodies.map(
      () =>
        new Choices(
          [
            ...context.bodies.map((_, index) => ({ value: String(index), text: "", sign: context.keys.fixedSign(String(index + 1)) })),
            { value: NONE, text: t("leave_out"), sign: context.keys.fixedSign("0") },
          ],
          () => this.changed(),
          { className: "points" },
        ),
    );
    this.parts = this.choices.map((choices, place) => this.part(choices, place));
    this.board = make("ol", { class: "rank-board", "aria-label": t("rank_order") });
    this.pool = make("div", { class: "rank-pool", "data-drop": NONE });
    dragging(this.board, this.pool, (place, drop) => this.drop(place, drop));
    const head = make("p", { class: "field-label", dir: "auto" }, field.label, ...(field.required ? [] : optionalSign()));
    const help = make("p", { class: "help", dir: "auto", text: inLine(field.help, t("rank_help")) });
    const rows = make("div", { class: "rank-rows" }, ...this.parts.map((part) => part.element));
    const order = make("div", { class: "rank-order" }, make("p", { class: "label", text: t("rank_order") }), this.board, this.pool);
    this.element = make("section", { class: "judgement", "aria-label": field.label }, head, help,
      make("div", { class: "rank" }, rows, order));
    this.restore(null);
  }

  /** @param {Choices} choices @param {number} place */
  part(choices, place) {
    [...choices.inputs].forEach(([value, input]) => {
      if (value === NONE) return;
      input.setAttribute("aria-label", t("rank_n", { n: Number(value) + 1 }));
      input.after(make("span", { class: "pick-text score", "aria-hidden": "true", text: String(Number(value) + 1) }));
    });
    const part = new Part({ label: t("completion", { name: LETTERS[place] }), role: "radiogroup" }, choices.element);
    part.press = (key) => {
      const rank = /^\d$/.test(key) ? Number(key) - 1 : NaN;
      if (!(rank >= -1 && rank < this.count)) return "no";
      choices.press(rank < 0 ? NONE : String(rank));
      return "next";
    };
    return part;
  }

  /** @returns {(number | null)[]} rank of each place, as it was set: gaps are allowed */
  get ranks() {
    return this.choices.map(({ value }) => (value === null || value === NONE ? null : Number(value)));
  }

  /** @returns {number[][]} places, best group first */
  get groups() {
    const ranks = this.ranks;
    const used = [...new Set(ranks.filter((rank) => rank !== null))].sort((a, b) => Number(a) - Number(b));
    return used.map((rank) => ranks.flatMap((one, place) => (one === rank ? [place] : [])));
  }

  changed() {
    this.show();
    this.context.changed();
  }

  show() {
    /** @param {number} place */
    const chip = (place) =>
      make("span", { class: "chip", "data-place": place, text: LETTERS[place], title: t("rank_drag") });
    const groups = this.groups;
    const gap = (/** @type {number} */ index) => make("li", { class: "rank-gap", "data-drop": `before-${index}`, "aria-hidden": "true" });
    const rows = groups.flatMap((group, index) => [
      gap(index),
      make("li", { class: "rank-group", "data-drop": `with-${index}` },
        make("span", { class: "rank-number", "aria-hidden": "true", text: String(index + 1) }), ...group.map(chip),
        group.length > 1 && make("span", { class: "help", text: t("tie") })),
    ]);
    this.board.replaceChildren(...rows, gap(groups.length));
    const left = this.ranks.flatMap((rank, place) => (rank === null ? [place] : []));
    this.pool.replaceChildren(
      make("span", { class: "help", text: left.length ? t("rank_left") : t("rank_all") }), ...left.map(chip));
  }

  /** A name was dropped. @param {number} place @param {string} target "none", "with-N" or "before-N" of the groups shown */
  drop(place, target) {
    const groups = this.groups;
    const [kind, at] = [target.split("-")[0], Number(target.split("-")[1])];
    const fresh = groups.map((group) => group.filter((one) => one !== place));
    if (kind === "with") fresh[at].push(place);
    if (kind === "before") fresh.splice(at, 0, [place]);
    this.restore({ groups: fresh.filter((group) => group.length) });
    this.context.changed();
  }

  state() {
    return this.groups.length ? { groups: this.groups } : null;
  }

  /** @param {any} state */
  restore(state) {
    const groups = /** @type {number[][]} */ (state?.groups ?? []);
    this.choices.forEach((choices, place) => {
      const rank = groups.findIndex((group) => group.includes(place));
      choices.value = rank < 0 ? null : String(rank);
    });
    this.show();
  }

  missing() {
    const ranked = this.groups.flat().length;
    const enough = this.field.partial === false ? this.count : Math.min(2, this.count);
    if (ranked >= enough || (ranked === 0 && !this.field.required)) return [];
    const message = t(enough === 2 ? "need_rank" : "need_ranks");
    return this.parts.filter((_, place) => this.ranks[place] === null).map((part) => ({ part, message }));
  }

  /** What was left out without a word: who presses "leave out" has said it. @returns {string} "" for nothing */
  doubt() {
    const left = this.choices.filter(({ value }) => value === null).length;
    return left && left < this.count ? t("rank_doubt", { n: left }) : "";
  }
}
