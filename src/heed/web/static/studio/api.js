/** Requests to the server, and its clock. */

import { problemLine } from "../ui.js";

/** What the server refused, or that it could not be reached (status 0). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{what?: string, why?: string, fix?: string, code?: string}} problem
   * @param {Headers} [headers]
   */
  constructor(status, problem, headers) {
    super(problemLine(problem, headers?.get("content-language") ?? null));
    this.status = status;
    this.code = problem.code ?? "";
    /** Seconds to wait before another try. */
    this.wait = Number(headers?.get("retry-after")) || 0;
  }

  /** Whether the same request may succeed later: the network, a server that starts anew, too many requests. */
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** Seconds after which a request counts as lost. A retry is safe: the server answers each request once. */
const PATIENCE = 20;

/**
 * Ask the server.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body] sent as JSON
 * @param {{key?: string, leaving?: boolean}} [options] `key`: for requests that must happen once; `leaving`: the page may close
 * @returns {Promise<{data: any, moment: Moment}>}
 * @throws {ApiError}
 */
export async function request(method, path, body, options = {}) {
  const headers = /** @type {Record<string, string>} */ ({ accept: "application/json" });
  if (body !== undefined) headers["content-type"] = "application/json";
  if (options.key) headers["idempotency-key"] = options.key;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      keepalive: options.leaving,
      signal: AbortSignal.timeout(PATIENCE * 1000),
    });
  } catch {
    throw new ApiError(0, {});
  }
  let data = null;
  try {
    data = await response.json();
  } catch {
    // A proxy's page, or a connection that broke off: what was done is not known.
    throw new ApiError(response.ok ? 0 : response.status, {});
  }
  if (!response.ok) throw new ApiError(response.status, data?.error ?? {}, response.headers);
  return { data, moment: new Moment(response.headers.get("date")) };
}

/** The server's time when it answered, on a clock that nobody can set. */
export class Moment {
  /** @param {string | null} date the Date header */
  constructor(date) {
    this.at = performance.now();
    this.server = Date.parse(date ?? "") || Date.now();
  }

  /** When, by `performance.now()`, the server's clock reaches `time`. @param {string} time ISO @returns {number} */
  until(time) {
    return this.at + (Date.parse(time) - this.server);
  }
}
