/** The item screen: what is shown, what was said of it, and what comes next. */

import { announce, toast } from "../ui.js";
import { ApiError, request } from "./api.js";
import { Banners } from "./banner.js";
import { WorkClock } from "./clock.js";
import { KeySettings, askIn, showHelp } from "./dialogs.js";
import { inLine, t } from "./dom.js";
import { Draft } from "./draft.js";
import { explanation } from "./explain.js";
import { Item } from "./item.js";
import { listenToKeys } from "./keyboard.js";
import { Keys } from "./keys.js";
import { Lease } from "./lease.js";
import { Lookout } from "./lookout.js";
import { Outbox } from "./outbox.js";
import { problemText } from "./problems.js";
import { Queue } from "./queue.js";
import { Screen, byId, rememberInstructions } from "./screen.js";
import { Sheet } from "./sheet.js";
import { Status } from "./status.js";
import { Drawer } from "./storage.js";

/** @typedef {import("./queue.js").Entry} Entry */
/** @typedef {import("./sheet.js").State} State */

const DATA = JSON.parse(document.getElementById("work-data")?.textContent || "{}");
const UNDONE_LOCALLY = 5;
const RETRY = 15_000;
const TEST = `/qualification/${DATA.question}`;
const TESTED = DATA.stage === "qualification";

class Work {
  constructor() {
    this.drawer = new Drawer(DATA.account);
    Draft.tidy(this.drawer);
    this.outbox = new Outbox(this.drawer);
    this.keys = new Keys(Object.fromEntries(DATA.default_keys), this.drawer.get("keys") ?? DATA.keys);
    this.keySettings = new KeySettings(this.keys, this.drawer);
    this.clock = new WorkClock();
    this.screen = new Screen(() => this.next());
    this.banners = new Banners(byId("banners"));
    this.status = new Status(byId("work-state"), byId("draft-state"), this.outbox);
    /** Answered here, though the server may not know yet. @type {Set<string>} */
    this.done = new Set();
    /** What was sent last, newest last. @type {{entry: Entry, state: State}[]} */
    this.history = [];
    this.queue = new Queue(DATA.question, (id) => this.done.has(id) || this.outbox.holds(id));
    this.queue.answered = DATA.answered;
    this.lookout = new Lookout(this.queue, {
      busy: () => Boolean(this.entry) || this.seeking,
      found: () => this.next(),
      failed: (error) => this.cannotLoad(error),
    });
    this.lease = new Lease(this.clock, {
      warn: (seconds) => this.warn(seconds),
      calm: () => { this.banners.hide("lease"); this.banners.hide("lost"); },
      lost: () => this.lost(),
    });
    /** @type {Entry | null} */
    this.entry = null;
    /** @type {Sheet | null} */
    this.sheet = null;
    /** @type {Draft | null} */
    this.draft = null;
    /** Whether the last item of a training before a test was answered. */
    this.trained = false;
    /** Whether the next item is being asked for. */
    this.seeking = false;
    /** The training item whose explanation is awaited or shown. */
    this.explaining = "";
    this.listen();
    this.next();
  }

  listen() {
    byId("submit").addEventListener("click", () => this.submit());
    byId("undo").addEventListener("click", () => this.undo());
    byId("skip").addEventListener("click", () => this.skip());
    byId("flag").addEventListener("click", () => this.flag());
    byId("show-help").addEventListener("click", () => showHelp(this.keys));
    byId("show-keys").addEventListener("click", () => { byId("help").close(); this.keySettings.open(); });
    rememberInstructions(byId("instructions"), this.drawer, DATA.question, DATA.version);
    this.keys.addEventListener("change", () => this.keys.showAll(document));
    this.keys.showAll(document);
    const actions = {
      submit: () => this.submit(), skip: () => this.skip(), flag: () => this.flag(), undo: () => this.undo(),
      next_part: () => this.sheet?.move(1), previous_part: () => this.sheet?.move(-1), help: () => showHelp(this.keys),
    };
    listenToKeys(this.keys, actions, (key, action) => !this.explaining && Boolean(this.sheet?.press(key, action)));
    this.outbox.addEventListener("sent", (event) => this.sent(/** @type {CustomEvent} */ (event).detail));
    this.outbox.addEventListener("refused", (event) => this.refused(/** @type {CustomEvent} */ (event).detail));
    addEventListener("pagehide", () => this.leave());
    addEventListener("online", () => { if (!this.entry) this.next(); });
    addEventListener("beforeunload", (event) => {
      if (this.outbox.letters.length && !this.outbox.kept) event.preventDefault();
    });
  }

  leave() {
    if (!this.draft) return;
    this.draft.keep(this.clock.time);
    this.draft.save(true);
  }

  // What is on the screen

  async next() {
    if (this.seeking) return;
    this.setDown();
    const entry = this.queue.take();
    if (entry) {
      this.show(entry, null);
      // While an answer is under way its place is not free yet; the news that it arrived asks for more.
      if (!this.outbox.letters.length) this.prefetch();
      return;
    }
    this.screen.wait(this.history.length > 0 || this.queue.answered > 0);
    this.seeking = true;
    try {
      await this.outbox.flush();
      if (this.trained ? await this.testIsNext() : TESTED && (await this.testIsOver())) return;
      await this.queue.load();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.cannotLoad(error);
      return;
    } finally {
      this.seeking = false;
    }
    const found = this.queue.take();
    if (found) this.show(found, null);
    else this.showNothing();
  }

  /** What came out of the test stands on a page of its own. @returns {Promise<boolean>} whether that is where we go */
  async testIsOver() {
    const { data } = await request("GET", `/api/v1/qualification/${DATA.question}`);
    if (data.state === "running") return false;
    location.assign(TEST);
    return true;
  }

  /** After the training comes the test, unless it is passed or was let go. @returns {Promise<boolean>} whether we go there */
  async testIsNext() {
    this.trained = false;
    const { data } = await request("GET", `/api/v1/qualification/${DATA.question}`);
    if (!["open", "failed"].includes(data.state)) return false;
    location.assign(TEST);
    return true;
  }

  /** Have the one after this one before it is wanted. */
  async prefetch() {
    try {
      await this.queue.load();
      this.showProgress();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // The next answer will ask again, and say so if it has to.
    }
  }

  /** @param {Entry} entry @param {State | null} state what to begin with, instead of the draft */
  show(entry, state) {
    this.setDown();
    const { showing } = entry;
    this.entry = entry;
    this.queue.current = showing.id;
    const item = new Item(showing);
    this.sheet = new Sheet(showing, item, this.keys, () => this.changed());
    this.draft = new Draft(this.drawer, showing, {
      state: (name) => this.status.showDraft(name),
      conflict: () => this.resolveConflict(),
    });
    this.sheet.restore(state ?? this.draft.initial ?? standing(showing));
    if (state) this.changed();
    if (this.draft.older) this.offerOlder(this.draft.older);
    this.screen.put(item.element, [
      ...(showing.training ? ["training"] : []),
      ...(TESTED ? ["test"] : []),
      ...(showing.reopened ? ["reopened"] : []),
    ]);
    // A test needs an answer to each of its items.
    if (TESTED) this.screen.enable(["submit", "undo", "flag"]);
    this.clock.start(this.draft.before);
    this.lease.hold(showing.id, entry.deadline, showing.form.lease_minutes);
    announce(t("new_item"));
    this.showProgress();
  }

  setDown() {
    this.sheet?.close();
    this.draft?.end();
    this.lease.release();
    this.entry = this.sheet = this.draft = null;
    this.explaining = "";
    this.status.showDraft("");
    this.status.ask("");
    this.banners.hide("older");
    byId("submit-text").textContent = t("submit");
  }

  showProgress() {
    const { place, of } = this.entry?.showing.progress ?? { place: null, of: null };
    const waiting = this.outbox.letters.filter((letter) => letter.kind === "answer").length;
    if (place) this.screen.progress(t(TESTED ? "test_progress" : "training_progress", { place, of: of ?? place }));
    // Neither the items of a test nor those that train count as answered.
    else this.screen.progress(TESTED ? "" : t("answered", { n: this.queue.answered + waiting }));
  }

  showNothing() {
    this.showProgress();
    const reason = this.queue.reason || "done";
    // Who has answered nothing cannot be done: there was nothing.
    const told = reason === "done" && !this.queue.answered ? "none" : reason;
    this.screen.empty(t("nothing_title"), t(`nothing.${told}`), DATA.several);
    if (reason !== "closed") this.lookout.begin();
  }

  /** @param {ApiError} error */
  cannotLoad(error) {
    const offline = error.status === 0;
    const here = encodeURIComponent(`/work?question=${DATA.question}`);
    const before = { sign_in: `/sign-in?next=${here}`, guidelines: `/guidelines?next=${here}`, qualification: TEST };
    if (Object.hasOwn(before, error.code)) location.assign(before[error.code]);
    else this.screen.empty(t(offline ? "offline_title" : "fault_title"), offline ? t("offline_text") : problemText(error));
    if (error.passing) setTimeout(() => this.tryAgain(), RETRY);
  }

  /** Without a word, until there is something. */
  async tryAgain() {
    if (this.entry || this.seeking) return;
    try {
      await this.queue.load();
      await this.next();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setTimeout(() => this.tryAgain(), RETRY);
    }
  }

  // What is said of it

  changed() {
    this.status.ask("");
    this.draft?.change(this.sheet?.state ?? { fields: {}, confidence: null, note: "" }, this.clock.time);
  }

  submit() {
    if (this.explaining) {
      if (!this.outbox.holds(this.explaining)) this.next();
      return;
    }
    if (!this.entry || !this.sheet?.complete()) return;
    const doubt = this.sheet.doubt();
    if (doubt && this.status.doubt !== doubt) {
      this.status.ask(doubt);
      return;
    }
    const { entry } = this;
    const state = /** @type {State} */ (this.sheet.state);
    const { seconds, active } = this.clock.time;
    this.draft?.keep(this.clock.time);
    this.draft?.end();
    this.done.add(entry.showing.id);
    this.history = [...this.history, { entry, state }].slice(-UNDONE_LOCALLY);
    if (entry.showing.training) this.awaitExplanation(entry.showing.id);
    const body = { answer: state.fields, confidence: state.confidence, seconds, active_seconds: active, note: state.note };
    const path = `/api/v1/showings/${entry.showing.id}/answer`;
    this.outbox.post({ kind: "answer", showing: entry.showing.id, path, body });
    if (!entry.showing.training) this.next();
  }

  /** @param {string} id */
  awaitExplanation(id) {
    this.explaining = id;
    this.lease.release();
    this.screen.enable([]);
  }

  /** @param {{letter: import("./outbox.js").Letter, data: any}} detail */
  sent({ letter, data }) {
    Draft.forget(this.drawer, letter.showing);
    const explaining = this.explaining === letter.showing;
    if (letter.kind === "answer" && !explaining && !TESTED) this.queue.answered += 1;
    this.showProgress();
    if (explaining) this.explain(data?.feedback);
    else if (this.outbox.letters.length) return;
    else if (this.entry) this.prefetch();
    else if (!this.seeking) this.next();
  }

  /** @param {any} feedback */
  explain(feedback) {
    if (!feedback || !this.entry) {
      this.next();
      return;
    }
    const box = explanation(this.entry.showing, feedback);
    byId("item").querySelector(".questions").append(box);
    for (const input of byId("item").querySelectorAll("input, textarea")) input.disabled = true;
    byId("submit-text").textContent = t("next");
    this.screen.enable(["submit"]);
    box.focus();
    box.scrollIntoView({ block: "nearest" });
    const { place, of } = this.entry.showing.progress;
    this.trained = DATA.tested && place === of;
    // What comes after the last one may be a test, before which there is nothing to be had.
    if (!this.trained) this.prefetch();
  }

  /** The server does not take it: nothing typed is lost, and the rater knows. @param {{letter: any, error: ApiError}} detail */
  refused({ letter, error }) {
    this.done.delete(letter.showing);
    if (letter.kind === "answer") {
      const { answer, confidence, note } = letter.body;
      Draft.rescue(this.drawer, letter.showing, { fields: answer, confidence, note });
    }
    this.banners.show("refused", inLine(t("refused"), problemText(error)), {
      kind: "bad", buttons: [{ text: t("understood"), do: () => this.banners.hide("refused") }],
    });
    if (this.explaining === letter.showing || error.status === 422) this.next();
  }

  async undo() {
    if (this.explaining && !this.outbox.holds(this.explaining)) return;
    const last = this.history.at(-1);
    const recalled = last && this.outbox.recall(last.entry.showing.id);
    if (last && recalled) {
      this.history.pop();
      this.done.delete(last.entry.showing.id);
      this.reopen(last.entry, last.state);
      return;
    }
    try {
      await this.outbox.flush();
      const path = `/api/v1/questions/${encodeURIComponent(DATA.question)}/undo`;
      const { data, moment } = await request("POST", path, {});
      this.history = this.history.filter(({ entry }) => entry.showing.id !== data.showing.id);
      this.done.delete(data.showing.id);
      this.reopen({ showing: data.showing, deadline: moment.until(data.showing.expires) }, null);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const own = /** @type {Record<number, string>} */ ({ 0: "undo_offline", 404: "nothing_to_undo", 409: "undo_too_many" });
      toast(own[error.status] ? t(own[error.status]) : problemText(error), error.status === 404 ? "" : "bad");
    }
  }

  /** @param {Entry} entry @param {State | null} state */
  reopen(entry, state) {
    if (this.entry && !this.explaining && this.entry.showing.id !== entry.showing.id) {
      this.draft?.save();
      this.entry.showing.draft = null; // this machine has it, and newer
      this.queue.putBack(this.entry);
    }
    this.show(entry, state);
    toast(t("undone"));
  }

  skip() {
    const { entry } = this;
    if (!entry || this.explaining || TESTED) return;
    askIn("skip-dialog", (values) => {
      const reason = [values.get("reason"), String(values.get("words") ?? "").trim()].filter(Boolean).join(": ");
      this.draft?.end();
      this.done.add(entry.showing.id);
      const path = `/api/v1/showings/${entry.showing.id}/skip`;
      this.outbox.post({ kind: "skip", showing: entry.showing.id, path, body: { reason } });
      this.next();
    });
  }

  flag() {
    const { entry } = this;
    if (!entry) return;
    askIn("flag-dialog", async (values) => {
      try {
        await request("POST", `/api/v1/showings/${entry.showing.id}/flag`, { note: String(values.get("words") ?? "") });
        toast(t("flagged"), "good");
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        toast(error.status === 0 ? t("flag_offline") : problemText(error), "bad");
      }
    });
  }

  // Time, and other machines

  /** @param {number} seconds */
  warn(seconds) {
    const left = seconds > 60 ? t("lease_minutes", { n: Math.ceil(seconds / 60) }) : t("lease_seconds", { n: Math.ceil(seconds / 10) * 10 });
    this.banners.show("lease", left, { buttons: [{ text: t("lease_extend"), primary: true, do: () => this.lease.renew() }] });
  }

  lost() {
    this.banners.hide("lease");
    this.banners.show("lost", t("lease_lost"), {
      buttons: [
        { text: t("lease_back"), primary: true, do: () => this.getBack() },
        { text: t("lease_next"), do: () => this.next() },
      ],
    });
  }

  async getBack() {
    if (await this.lease.renew()) this.banners.hide("lost");
    else toast(t("lease_gone"), "bad");
  }

  /** Another machine or window saved a draft of this item: what is typed here goes on, the other can be had. */
  async resolveConflict() {
    const { draft, entry } = this;
    if (!draft || !entry) return;
    try {
      const { data } = await request("POST", `/api/v1/questions/${encodeURIComponent(DATA.question)}/showings`, {});
      const held = data.showings.find((/** @type {any} */ one) => one.id === entry.showing.id);
      if (!held || this.draft !== draft) return;
      draft.rebase(held.draft?.revision ?? 0);
      if (held.draft && JSON.stringify(held.draft.draft) !== JSON.stringify(draft.current)) this.offerOlder(held.draft.draft);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** @param {State} other */
  offerOlder(other) {
    this.banners.show("older", t("draft_other"), {
      buttons: [
        { text: t("draft_take"), do: () => { this.sheet?.restore(other); this.changed(); this.banners.hide("older"); } },
        { text: t("draft_keep"), do: () => this.banners.hide("older") },
      ],
    });
  }
}

/** The answer that stands, of a showing that was reopened. @param {import("./item.js").Showing} showing @returns {State | null} */
function standing({ answer, confidence, note }) {
  return answer && { fields: answer, confidence, note };
}

new Work();
