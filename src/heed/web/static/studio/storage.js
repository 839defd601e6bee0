/** What this machine keeps for one account: drafts and answers under way. Where nothing can be kept, memory has to do. */

const memory = /** @type {Map<string, string>} */ (new Map());

/** A drawer of the browser's storage. */
export class Drawer {
  /** @param {string} account whose it is: another person on this machine never sees it */
  constructor(account) {
    this.prefix = `heed.${account}.`;
  }

  /** @param {string} name @returns {any} null where there is none */
  get(name) {
    const key = this.prefix + name;
    try {
      return JSON.parse(memory.get(key) ?? localStorage.getItem(key) ?? "null");
    } catch {
      return null;
    }
  }

  /** @param {string} name @param {unknown} value @returns {boolean} whether it will be there after the page is closed */
  set(name, value) {
    const key = this.prefix + name;
    const text = JSON.stringify(value);
    try {
      localStorage.setItem(key, text);
      memory.delete(key);
      return true;
    } catch {
      memory.set(key, text);
      return false;
    }
  }

  /** @param {string} name */
  remove(name) {
    memory.delete(this.prefix + name);
    try {
      localStorage.removeItem(this.prefix + name);
    } catch {
      // Nothing could be kept, so nothing is there.
    }
  }

  /** @returns {string[]} names of what is kept */
  names() {
    const keys = [...memory.keys()];
    try {
      for (let index = 0; index < localStorage.length; index += 1) keys.push(localStorage.key(index) ?? "");
    } catch {
      // As above.
    }
    return keys.filter((key) => key.startsWith(this.prefix)).map((key) => key.slice(this.prefix.length));
  }
}
