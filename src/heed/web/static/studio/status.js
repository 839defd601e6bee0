/** The line that says whether everything is saved; spoken by screen readers when it changes. */

import { inLine, make, t } from "./dom.js";

/** @typedef {import("./outbox.js").Outbox} Outbox */

export class Status {
  /** @param {HTMLElement} place with role=status @param {HTMLElement} draft beside it, not spoken @param {Outbox} outbox */
  constructor(place, draft, outbox) {
    this.place = place;
    this.draft = draft;
    this.outbox = outbox;
    this.before = "";
    /** What is asked before an answer is sent; "" for nothing. */
    this.doubt = "";
    this.sent = false;
    outbox.addEventListener("change", () => this.show());
    outbox.addEventListener("sent", () => { this.sent = true; });
    this.show();
  }

  show() {
    const waiting = this.outbox.letters.length;
    const trouble = this.outbox.trouble;
    let [kind, text] = ["good", this.sent ? t("saved") : ""];
    if (waiting && trouble) {
      kind = "warn";
      if (trouble.status === 401) text = t("waiting_sign_in", { n: waiting });
      else text = t(trouble.status === 0 ? "waiting_offline" : "waiting_server", { n: waiting });
      if (!this.outbox.kept) text = inLine(text, t("not_kept"));
    } else if (waiting) [kind, text] = ["", t("saving")];
    if (this.doubt) [kind, text] = ["warn", this.doubt];
    if (text === this.before) return;
    this.before = text;
    this.place.className = `work-state ${kind}`;
    this.place.replaceChildren(text);
    if (waiting && trouble?.status === 401 && !this.doubt) {
      const link = make("a", { href: `/sign-in?next=${encodeURIComponent(location.pathname)}` }, t("sign_in"));
      this.place.append(" ", link);
    }
  }

  /** Ask about an answer before it is sent; "" takes it back. @param {string} doubt */
  ask(doubt) {
    this.doubt = doubt;
    this.show();
  }

  /** @param {"saving" | "saved" | "local" | ""} state of the draft */
  showDraft(state) {
    this.draft.textContent = state ? t(`draft_${state}`) : "";
  }
}
