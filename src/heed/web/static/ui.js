/** Helpers for the modules of every page: say something, ask something, show times. Nothing runs when this is loaded. */

const LANGUAGE = document.documentElement.lang || "en";
const STEPS = /** @type {const} */ ([["day", 86400], ["hour", 3600], ["minute", 60]]);

/** Speak a message to screen readers, without moving the focus. @param {string} text */
export function announce(text) {
  const status = document.getElementById("status");
  if (!status) return;
  status.textContent = "";
  requestAnimationFrame(() => { status.textContent = text; });
}

/**
 * Show a message for some seconds, and speak it. It stays while the pointer or the focus is on it.
 * @param {string} text
 * @param {"" | "good" | "bad"} [kind]
 * @param {number} [seconds]
 */
export function toast(text, kind = "", seconds = 5) {
  const room = document.getElementById("toasts");
  if (!room) return;
  const box = document.createElement("div");
  const words = document.createElement("span");
  const close = document.createElement("button");
  box.className = `toast ${kind}`;
  words.textContent = text;
  words.dir = "auto";
  close.type = "button";
  close.className = "quiet small";
  close.textContent = room.dataset.close ?? "×";
  close.addEventListener("click", () => box.remove());
  box.append(words, close);
  room.append(box);
  announce(text);
  // A pointer that lay there before the message came does not hold it: only one that moves onto it.
  let held = false;
  box.addEventListener("pointermove", (event) => { held ||= Boolean(event.movementX || event.movementY); });
  box.addEventListener("pointerleave", () => { held = false; });
  const leave = () => {
    if (held || box.matches(":focus-within")) setTimeout(leave, 1000);
    else box.remove();
  };
  setTimeout(leave, seconds * 1000);
}

/**
 * What the server says went wrong, in one line.
 * @param {{what?: string, why?: string, fix?: string}} problem
 * @param {string | null} language in which it says so
 */
export function problemLine({ what, why, fix }, language) {
  const [colon, space] = language === "zh" ? ["：", ""] : [": ", " "];
  return [[what, why].filter(Boolean).join(colon), fix].filter(Boolean).join(space);
}

/**
 * Open a dialog as modal and wait for its end.
 * @param {HTMLDialogElement} dialog
 * @returns {Promise<string>} its returnValue; empty where it was left by Escape
 */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

/** "3 minutes ago" in the page's language. @param {Date} moment @param {Date} [now] @returns {string} */
export function relativeTime(moment, now = new Date()) {
  const seconds = (moment.getTime() - now.getTime()) / 1000;
  if (Math.abs(seconds) > 7 * 86400) return fullTime(moment, false);
  const words = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size) return words.format(Math.trunc(seconds / size), unit);
  }
  return words.format(Math.trunc(seconds), "second");
}

/** Date and time in the reader's zone and the page's language. @param {Date} moment @param {boolean} [clock] @returns {string} */
export function fullTime(moment, clock = true) {
  return new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", ...(clock && { timeStyle: "short" }) }).format(moment);
}

/** Write every `<time data-time>` under `root` for its reader. @param {ParentNode} [root] */
export function showTimes(root = document) {
  for (const place of root.querySelectorAll("time[data-time]")) {
    const moment = new Date(/** @type {HTMLTimeElement} */ (place).dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const relative = /** @type {HTMLElement} */ (place).dataset.time === "relative";
    place.textContent = relative ? relativeTime(moment) : fullTime(moment);
    if (relative) place.setAttribute("title", fullTime(moment));
  }
}
