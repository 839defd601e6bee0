/** What the server refused, in the words of the interface. */

import { t } from "./dom.js";

const KNOWN = new Set([
  "conflict", "guidelines", "internal", "limit", "missing", "qualification", "refused", "sign_in", "unavailable",
]);

/** @param {import("./api.js").ApiError} error @returns {string} */
export function problemText(error) {
  if (error.status === 0) return t("problem.offline");
  // A proxy in between has no code of ours; its number would tell a rater nothing.
  if (error.status >= 500 && !error.code) return t("problem.unavailable");
  if (KNOWN.has(error.code)) return t(`problem.${error.code}`);
  // What only the server can put a name to is told as it says it.
  return t("problem.other", { detail: error.message || String(error.status) });
}
