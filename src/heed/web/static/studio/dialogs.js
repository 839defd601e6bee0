/** Skip with a reason, flag, help, and the keys. */

import { ApiError, request } from "./api.js";
import { make, t } from "./dom.js";
import { actionName, keyOf, signOf } from "./keys.js";
import { problemText } from "./problems.js";

/** @typedef {import("./keys.js").Keys} Keys */
/** @typedef {import("./storage.js").Drawer} Drawer */

/** @param {string} id @returns {HTMLDialogElement} */
export const dialogOf = (id) => /** @type {HTMLDialogElement} */ (document.getElementById(id));

/** Whether a dialog is open, which then has all keys. @returns {boolean} */
export const dialogIsOpen = () => Boolean(document.querySelector("dialog[open]"));

/**
 * Ask for words and go on when they are given.
 * @param {string} id of a dialog with one form
 * @param {(values: FormData) => void} done
 */
export function askIn(id, done) {
  const dialog = dialogOf(id);
  const form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
  form.reset();
  form.onkeydown = (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing || event.repeat) return;
    // Not also for the item beneath, once the dialog is closed.
    event.preventDefault();
    form.requestSubmit();
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    const values = new FormData(form);
    dialog.close();
    done(values);
  };
  dialog.showModal();
}

/** List what each key does, in the help. @param {Keys} keys */
export function showHelp(keys) {
  const list = /** @type {HTMLElement} */ (document.getElementById("help-keys"));
  list.replaceChildren(
    ...Object.entries(keys.map).flatMap(([action, key]) => [
      make("dt", {}, make("kbd", { text: key ? signOf(key) : "–" })), make("dd", { text: actionName(action) })]),
    make("dt", {}, make("kbd", { text: "1" }), "–", make("kbd", { text: "0" })), make("dd", { text: t("help_digits") }),
    make("dt", {}, make("kbd", { text: "←" }), make("kbd", { text: "→" })),
    make("dd", { text: t("help_arrows", { button: t("mark_parts") }) }),
    make("dt", {}, make("kbd", { text: "Ctrl" }), "+", make("kbd", { text: "↵" })), make("dd", { text: t("help_ctrl_enter") }),
    make("dt", {}, make("kbd", { text: "Esc" })), make("dd", { text: t("help_escape") }),
  );
  dialogOf("help").showModal();
}

/** The dialog in which keys are set. */
export class KeySettings {
  /** @param {Keys} keys @param {Drawer} drawer */
  constructor(keys, drawer) {
    this.keys = keys;
    this.drawer = drawer;
    this.dialog = dialogOf("keys");
    this.rows = /** @type {HTMLElement} */ (document.getElementById("keys-rows"));
    this.fault = /** @type {HTMLElement} */ (document.getElementById("keys-fault"));
    this.enabled = /** @type {HTMLInputElement} */ (document.getElementById("keys-enabled"));
    this.enabled.addEventListener("change", () => this.save({ ...keys.settings, enabled: this.enabled.checked }));
    document.getElementById("keys-reset")?.addEventListener("click", () => this.save({ enabled: keys.enabled, keys: {} }));
  }

  open() {
    this.show();
    this.dialog.showModal();
  }

  show() {
    this.enabled.checked = this.keys.enabled;
    this.rows.replaceChildren(...Object.entries(this.keys.map).map(([action, key]) => {
      const button = make("button", { type: "button", class: "small key-button" }, key ? signOf(key) : t("no_key"));
      button.setAttribute("aria-label", t("key_change", { action: actionName(action), key: key ? signOf(key) : t("no_key") }));
      button.addEventListener("click", () => this.capture(button, action));
      const row = make("div", { class: "key-row" }, make("span", { text: actionName(action) }), button);
      return row;
    }));
  }

  /** Wait for the next key. @param {HTMLButtonElement} button @param {string} action */
  capture(button, action) {
    button.textContent = t("key_press");
    this.say(t("key_press_help"));
    const done = () => {
      button.removeEventListener("keydown", listen);
      button.removeEventListener("blur", cancel);
    };
    const cancel = () => {
      done();
      this.say("");
      button.textContent = this.keys.map[action] ? signOf(this.keys.map[action]) : t("no_key");
    };
    const listen = (/** @type {KeyboardEvent} */ event) => {
      if (["Shift", "Control", "Alt", "Meta", "Tab"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      done();
      if (event.key === "Escape") cancel();
      else this.set(action, ["Backspace", "Delete"].includes(event.key) ? "" : keyOf(event));
    };
    button.addEventListener("keydown", listen);
    button.addEventListener("blur", cancel);
  }

  /** @param {string} action @param {string} key */
  async set(action, key) {
    const other = key && this.keys.action(key);
    if (other && other !== action) {
      this.show();
      this.complain(t("key_taken", { key: signOf(key), action: actionName(other) }));
    } else {
      await this.save({ enabled: this.keys.enabled, keys: { ...this.keys.own, [action]: key } });
    }
    const index = Object.keys(this.keys.map).indexOf(action);
    /** @type {HTMLElement | undefined} */ (this.rows.querySelectorAll("button")[index])?.focus();
  }

  /** Use settings at once, and keep them here and with the account. @param {import("./keys.js").Settings} settings */
  async save(settings) {
    const before = this.keys.settings;
    this.say("");
    this.keys.apply(settings);
    this.show();
    try {
      await request("PATCH", "/api/v1/me", { keys: settings });
      this.drawer.remove("keys");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.passing) {
        this.drawer.set("keys", settings);
        this.say(t("keys_here"));
        return;
      }
      this.keys.apply(before);
      this.show();
      this.complain(problemText(error));
    }
  }

  /** @param {string} text */
  say(text) {
    this.fault.textContent = text;
    this.fault.className = "help keys-fault";
  }

  /** Say why something was not done. @param {string} text */
  complain(text) {
    this.fault.textContent = text;
    this.fault.className = "field-error keys-fault";
  }
}
