/** A text in which parts can be selected and marked, by pointer or by keys. Places are counted in Unicode code points. */

import { make, t } from "../dom.js";
import { wordsOf } from "../diff.js";

/** @typedef {{start: number, end: number, label: string, note: string}} Span */
/** @typedef {{start: number, end: number}} Selected */

export class Marking {
  /**
   * @param {string} text
   * @param {string} name of the completion
   * @param {(selected: Selected | null) => void} selected what is selected now, or that nothing is any more
   */
  constructor(text, name, selected) {
    this.text = text;
    this.tell = selected;
    this.spans = /** @type {Span[]} */ ([]);
    this.element = make("div", {
      class: "marking", dir: "auto", tabindex: "0", role: "document", "aria-label": t("marking_of", { name }),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.moveByWord(event),
    });
    this.known = /** @type {string} */ ("");
    document.addEventListener("selectionchange", this.look);
    this.show([]);
  }

  /** Stop listening. */
  close() {
    document.removeEventListener("selectionchange", this.look);
  }

  look = () => {
    if (!this.element.isConnected) return;
    const selected = this.selected;
    const known = JSON.stringify(selected);
    if (known === this.known) return;
    // Another element took the focus, and with it the selection: what was selected is still meant.
    if (!selected && document.activeElement !== this.element && document.activeElement !== document.body) return;
    this.known = known;
    this.tell(selected);
  };

  /** @returns {Selected | null} */
  get selected() {
    const selection = getSelection();
    if (!selection || selection.isCollapsed || !selection.rangeCount) return null;
    const range = selection.getRangeAt(0);
    if (!this.element.contains(range.startContainer) || !this.element.contains(range.endContainer)) return null;
    const before = document.createRange();
    before.setStart(this.element, 0);
    before.setEnd(range.startContainer, range.startOffset);
    let start = before.toString().length;
    let end = start + range.toString().length;
    // Spaces at the ends are hard to see and never meant.
    while (start < end && !this.text[start].trim()) start += 1;
    while (end > start && !this.text[end - 1].trim()) end -= 1;
    if (start === end) return null;
    return { start: this.pointsAt(start), end: this.pointsAt(end) };
  }

  /** Code points before a place that is counted in UTF-16. @param {number} units */
  pointsAt(units) {
    return Array.from(this.text.slice(0, units)).length;
  }

  /** The marked text. @param {Selected} span @returns {string} */
  excerpt({ start, end }) {
    return Array.from(this.text).slice(start, end).join("");
  }

  /** Draw the marks. @param {Span[]} spans */
  show(spans) {
    this.spans = spans;
    const points = Array.from(this.text);
    const cuts = [...new Set([0, points.length, ...spans.flatMap(({ start, end }) => [start, end])])].sort((a, b) => a - b);
    const pieces = cuts.slice(1).map((end, index) => {
      const start = cuts[index];
      const piece = points.slice(start, end).join("");
      const covering = spans.flatMap((span, number) => (span.start <= start && span.end >= end ? [number] : []));
      if (!covering.length) return document.createTextNode(piece);
      const ending = covering.filter((number) => spans[number].end === end).map((number) => number + 1);
      const names = covering.map((number) => spans[number].label).join(", ");
      return make("mark", { title: names, "data-n": ending.join(" ") || null, text: piece });
    });
    this.element.replaceChildren(...pieces);
  }

  /** Arrows move a selection from word to word; with Shift they widen it. @param {KeyboardEvent} event */
  moveByWord(event) {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    let at = 0;
    const words = wordsOf(this.text).flatMap((word) => {
      at += word.length;
      return word.trim() ? [{ start: at - word.length, end: at }] : [];
    });
    if (!words.length) return;
    const last = words.length - 1;
    const cursor = this.cursor ?? { anchor: step > 0 ? -1 : last + 1, head: step > 0 ? -1 : last + 1 };
    const head = Math.max(0, Math.min(last, cursor.head + step));
    const anchor = event.shiftKey && cursor.anchor >= 0 && cursor.anchor <= last ? cursor.anchor : head;
    this.cursor = { anchor, head };
    this.select(words[Math.min(anchor, head)].start, words[Math.max(anchor, head)].end);
    this.look(); // the browser tells of it later, perhaps after the key that marks it
  }

  /** @param {number} start @param {number} end in UTF-16 */
  select(start, end) {
    const range = document.createRange();
    const walker = document.createTreeWalker(this.element, NodeFilter.SHOW_TEXT);
    let before = 0;
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const length = node.textContent?.length ?? 0;
      if (start >= before && start <= before + length) range.setStart(node, start - before);
      if (end >= before && end <= before + length) {
        range.setEnd(node, end - before);
        break;
      }
      before += length;
    }
    getSelection()?.removeAllRanges();
    getSelection()?.addRange(range);
  }
}
