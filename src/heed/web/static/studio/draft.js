/** What is being written about one showing: on this machine at once, on the server a moment later. */

import { ApiError, request } from "./api.js";

/** @typedef {import("./storage.js").Drawer} Drawer */
/** @typedef {{draft: any, revision: number, dirty: boolean, seconds: number, active: number, saved: number}} Kept */

const PAUSE = 800;
const DAYS_KEPT = 14;

/** @param {string} showing */
const nameOf = (showing) => `draft.${showing}`;

export class Draft {
  /**
   * @param {Drawer} drawer
   * @param {{id: string, draft: {draft: any, revision: number} | null}} showing
   * @param {{state: (name: "saving" | "saved" | "local") => void, conflict: (theirs: any) => void}} tell
   */
  constructor(drawer, showing, tell) {
    this.drawer = drawer;
    this.id = showing.id;
    this.tell = tell;
    const here = /** @type {Kept | null} */ (drawer.get(nameOf(showing.id)));
    const there = showing.draft;
    this.revision = there?.revision ?? here?.revision ?? 0;
    /** Seconds that the item had taken when the page was left. */
    this.before = { seconds: here?.seconds ?? 0, active: here?.active ?? 0 };
    const mine = here?.dirty ? here.draft : null;
    /** What to begin with; null for an empty form. */
    this.initial = mine && (!there || here?.revision === there.revision) ? mine : (there?.draft ?? here?.draft ?? null);
    /** What was typed here before something newer came from another machine. */
    this.older = mine && JSON.stringify(this.initial) !== JSON.stringify(mine) ? mine : null;
    this.current = this.initial;
    this.dirty = this.initial !== null && this.initial === mine;
    this.ended = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    if (this.dirty) this.timer = setTimeout(() => this.save(), PAUSE);
  }

  /** The form has changed. @param {any} draft @param {{seconds: number, active: number}} time so far */
  change(draft, time) {
    if (this.ended) return;
    this.current = draft;
    this.dirty = true;
    this.keep(time);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
  }

  /** @param {{seconds: number, active: number}} time */
  keep(time) {
    if (this.ended || this.current === null) return;
    const kept = { draft: this.current, revision: this.revision, dirty: this.dirty, ...time, saved: Date.now() };
    this.drawer.set(nameOf(this.id), kept);
    this.time = time;
  }

  /** Send it now, if there is something new. @param {boolean} [leaving] the page may close */
  async save(leaving = false) {
    clearTimeout(this.timer);
    if (this.ended || !this.dirty || this.current === null) return;
    const sent = this.current;
    this.tell.state("saving");
    try {
      const body = { draft: sent, revision: this.revision };
      const { data } = await request("PUT", `/api/v1/showings/${this.id}/draft`, body, { leaving });
      if (this.ended) return;
      this.revision = data.revision;
      this.dirty = this.current !== sent;
      this.keep(this.time ?? this.before);
      this.tell.state(this.dirty ? "saving" : "saved");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.ended) return;
      this.tell.state("local");
      if (error.status === 409) this.tell.conflict(error);
      else if (error.passing) this.timer = setTimeout(() => this.save(), 10_000);
    }
  }

  /** The server knows a newer one: what is written here goes on from it. @param {number} revision */
  rebase(revision) {
    this.revision = revision;
    this.timer = setTimeout(() => this.save(), PAUSE);
  }

  /** No more saving: the answer is under way, and the server throws its draft away with it. */
  end() {
    this.ended = true;
    clearTimeout(this.timer);
  }

  /** Forget what this machine kept. @param {Drawer} drawer @param {string} showing */
  static forget(drawer, showing) {
    drawer.remove(nameOf(showing));
  }

  /** Keep an answer that was not taken, so that nothing typed is lost. @param {Drawer} drawer @param {string} showing @param {any} draft */
  static rescue(drawer, showing, draft) {
    const kept = { draft, revision: 0, dirty: true, seconds: 0, active: 0, saved: Date.now() };
    drawer.set(nameOf(showing), kept);
  }

  /** Forget what nobody came back to. @param {Drawer} drawer */
  static tidy(drawer) {
    for (const name of drawer.names()) {
      if (!name.startsWith("draft.")) continue;
      const age = Date.now() - (drawer.get(name)?.saved ?? 0);
      if (age > DAYS_KEPT * 86_400_000) drawer.remove(name);
    }
  }
}
