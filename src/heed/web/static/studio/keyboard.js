/** From a pressed key to what it does. Nothing happens while a text is typed, in a dialog, or where an element needs the key. */

import { dialogIsOpen } from "./dialogs.js";
import { isTyping } from "./dom.js";
import { keyOf } from "./keys.js";

/**
 * @param {import("./keys.js").Keys} keys
 * @param {Record<string, () => void>} actions of the screen; `submit` is also Ctrl+Enter, wherever one is
 * @param {(key: string, action: string) => boolean} press anything else: whether it meant something to the form
 */
export function listenToKeys(keys, actions, press) {
  document.addEventListener("keydown", (event) => {
    // A key that is held down answers one item, not ten.
    if (event.isComposing || event.repeat || event.defaultPrevented || dialogIsOpen()) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      actions.submit();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") leaveText(/** @type {HTMLElement} */ (event.target));
      return;
    }
    if (!keys.enabled) return;
    const key = keyOf(event);
    if (ownsKey(/** @type {Element} */ (event.target), key)) return;
    const action = keys.action(key);
    if (Object.hasOwn(actions, action)) actions[action]();
    else if (!press(key, action)) return;
    event.preventDefault();
  });
}

/** Back from a text to the part that it belongs to. @param {HTMLElement} text */
function leaveText(text) {
  const part = /** @type {HTMLElement | null} */ (text.closest(".part"));
  if (part) part.focus({ preventScroll: true });
  else text.blur();
}

/** Whether the element that has the focus uses a key itself. @param {Element} target @param {string} key @returns {boolean} */
function ownsKey(target, key) {
  if (target.closest("button, a, summary, video")) return key === "Enter" || key === " ";
  return key.startsWith("Arrow") && target instanceof HTMLInputElement;
}
