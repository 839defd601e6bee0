/** Elements from plain values, and texts of the interface. Nothing here makes HTML out of strings. */

const TEXTS = /** @type {Record<string, string>} */ (
  JSON.parse(document.getElementById("texts")?.textContent || "{}")
);

/**
 * A text of the interface with its `{names}` filled in; where `n` is 1 and there is a text `KEY.one`, that one.
 * @param {string} name after "studio."
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(name, values = {}) {
  const key = `studio.${name}`;
  const text = (values.n === 1 && TEXTS[`${key}.one`]) || TEXTS[key] || key;
  return text.replace(/\{(\w+)\}/g, (whole, value) => (value in values ? String(values[value]) : whole));
}

/** Texts one behind the other, without the empty ones. Chinese signs bring their own space. @param {...(string | false)} texts */
export function inLine(...texts) {
  let line = "";
  for (const text of texts) {
    if (!text) continue;
    const apart = line && !/[。！？；：，）]$/.test(line) && !text.startsWith("（");
    line += apart ? ` ${text}` : text;
  }
  return line;
}

/** What stands behind the label of a part that may be left out. @returns {(string | HTMLElement)[]} */
export function optionalSign() {
  const text = t("optional");
  return [text.startsWith("（") ? "" : " ", make("span", { class: "help nowrap", text })];
}

/**
 * An element. Attributes that are functions listen, true and false set and leave out, all others are text.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes] `class`, `text` (its only content) or any attribute; `onclick` and the like
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name === "text") element.textContent = String(value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** What the places are called, from the left. */
export const LETTERS = "ABCDEFGH";

let made = 0;

/** An id that no other element has. @returns {string} */
export function freshId() {
  made += 1;
  return `part-${made}`;
}

/** Whether a key that is typed now belongs to a text. @param {EventTarget | null} target @returns {boolean} */
export function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["radio", "checkbox", "range", "button", "submit"].includes(target.type);
}

/** Bring an element into view without more motion than asked for. @param {Element} element */
export function reveal(element) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}

/** A mark of the interface; always beside words that say the same. @param {string} path of an SVG of 24 by 24 */
export function icon(path) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("class", "mark-icon");
  drawing.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}
