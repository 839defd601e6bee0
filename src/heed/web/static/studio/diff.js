/** Which words were taken out of a text and which were put in. */

/** @typedef {{kind: "same" | "del" | "ins", text: string}} Piece */

/** Cells of the table of common subsequences (16 MB): above it the middle counts as replaced. */
const MOST_CELLS = 4_000_000;

/** @param {string} text @returns {string[]} words, spaces and signs, in order; together they are the text */
export function wordsOf(text) {
  if (!Intl.Segmenter) return text.match(/\s+|[\p{L}\p{N}\p{M}_'’]+|[^\s\p{L}\p{N}\p{M}]/gu) ?? [];
  return Array.from(new Intl.Segmenter(undefined, { granularity: "word" }).segment(text), (part) => part.segment);
}

/**
 * @param {string} before
 * @param {string} after
 * @returns {Piece[]} without "ins" it is `before`, without "del" it is `after`
 */
export function diffWords(before, after) {
  const old = wordsOf(before);
  const now = wordsOf(after);
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  const middle = between(old.slice(head, old.length - tail), now.slice(head, now.length - tail));
  const pieces = /** @type {Piece[]} */ ([
    { kind: "same", text: old.slice(0, head).join("") },
    ...middle,
    { kind: "same", text: old.slice(old.length - tail).join("") },
  ]);
  return joined(pieces);
}

/** @param {string[]} old @param {string[]} now @returns {Piece[]} */
function between(old, now) {
  const width = now.length + 1;
  if ((old.length + 1) * width > MOST_CELLS) {
    return [{ kind: "del", text: old.join("") }, { kind: "ins", text: now.join("") }];
  }
  // longest[i * width + j]: weight of what old from i and now from j have in common.
  const longest = new Uint32Array((old.length + 1) * width);
  const weights = old.map(weightOf);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      const [down, right] = [longest[(i + 1) * width + j], longest[i * width + j + 1]];
      longest[i * width + j] = old[i] === now[j] ? longest[(i + 1) * width + j + 1] + weights[i] : Math.max(down, right);
    }
  }
  const pieces = /** @type {Piece[]} */ ([]);
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      pieces.push({ kind: "same", text: old[i] });
      i += 1;
      j += 1;
    } else if (j >= now.length || (i < old.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      pieces.push({ kind: "del", text: old[i] });
      i += 1;
    } else {
      pieces.push({ kind: "ins", text: now[j] });
      j += 1;
    }
  }
  return pieces;
}

/** What it says that a part stayed: a word much, a sign little, a space hardly anything. @param {string} part */
const weightOf = (part) => (/[\p{L}\p{N}]/u.test(part) ? 100 : part.trim() ? 10 : 1);

/**
 * What stayed and what was changed, in turn. A space that stayed between words that did not is no reason to read them one by one:
 * it is taken out with what was there before, and put in with what came.
 * @param {Piece[]} pieces
 * @returns {Piece[]}
 */
function joined(pieces) {
  /** @type {{same: string, del: string, ins: string}[]} what stayed, and what was changed after it */
  const runs = [{ same: "", del: "", ins: "" }];
  for (const { kind, text } of pieces) {
    const last = runs[runs.length - 1];
    if (kind === "same" && text && (last.del || last.ins)) runs.push({ same: text, del: "", ins: "" });
    else last[kind] += text;
  }
  const kept = runs.slice(0, 1);
  for (const run of runs.slice(1)) {
    const last = kept[kept.length - 1];
    const both = (last.del || run.del) && (last.ins || run.ins) && (run.del || run.ins);
    if (both && /^[^\S\n]+$/.test(run.same)) {
      last.del += run.same + run.del;
      last.ins += run.same + run.ins;
    } else kept.push(run);
  }
  const kinds = /** @type {const} */ (["same", "del", "ins"]);
  return kept.flatMap((run) => kinds.flatMap((kind) => (run[kind] ? [{ kind, text: run[kind] }] : [])));
}
