/** Which key does what, as the person has set it; and the signs on the screen that say so. */

import { make, t } from "./dom.js";

/** @typedef {{enabled?: boolean, keys?: Record<string, string>}} Settings */

const SIGNS = /** @type {Record<string, string>} */ ({
  Enter: "↵", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓",
});

/** What is written on a key. @param {string} key @returns {string} */
export const signOf = (key) => SIGNS[key] ?? (key.length === 1 ? key.toUpperCase() : key);

/** The key of an event as settings name it. @param {KeyboardEvent} event @returns {string} */
export const keyOf = (event) => (event.key.length === 1 ? event.key.toLowerCase() : event.key);

export class Keys extends EventTarget {
  /** Dispatches "change". @param {Record<string, string>} defaults action to key @param {Settings} settings */
  constructor(defaults, settings) {
    super();
    this.defaults = defaults;
    this.apply(settings);
  }

  /** @param {Settings} settings */
  apply(settings) {
    /** Whether single keys do anything; Ctrl+Enter always sends. */
    this.enabled = settings.enabled ?? true;
    this.own = { ...settings.keys };
    this.map = { ...this.defaults, ...this.own };
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {Settings} */
  get settings() {
    return { enabled: this.enabled, keys: this.own };
  }

  /** @param {string} key @returns {string} the action, or "" */
  action(key) {
    return Object.keys(this.map).find((name) => this.map[name] === key) ?? "";
  }

  /** A sign for the key of an action, which follows the settings. @param {string} action @returns {HTMLElement} */
  sign(action) {
    const sign = make("kbd", { "data-action": action, "aria-hidden": "true" });
    this.show(sign);
    return sign;
  }

  /** A sign for a key that nobody can set: the digits of a scale. @param {string} key @returns {HTMLElement} */
  fixedSign(key) {
    const sign = make("kbd", { "data-key": key, "aria-hidden": "true" });
    this.show(sign);
    return sign;
  }

  /** @param {HTMLElement} sign */
  show(sign) {
    const key = sign.dataset.key ?? this.map[sign.dataset.action ?? ""] ?? "";
    sign.textContent = signOf(key);
    sign.hidden = !this.enabled || !key;
    const owner = sign.closest("button, a") ?? sign.closest("label")?.querySelector("input");
    if (owner && this.enabled && key) owner.setAttribute("aria-keyshortcuts", key);
    else owner?.removeAttribute("aria-keyshortcuts");
  }

  /** Write all signs anew. @param {ParentNode} root */
  showAll(root) {
    for (const sign of root.querySelectorAll("kbd[data-action], kbd[data-key]")) this.show(/** @type {HTMLElement} */ (sign));
  }
}

/** What an action is called. @param {string} action @returns {string} */
export const actionName = (action) => t(`action.${action}`);
