/**
 * The gateway's API. Whatever comes over the wire is checked here, once, so that the rest of the
 * application may trust its types.
 */

export interface Novel {
  id: string;
  title: string;
  premise: string;
  created_at: string;
}

export type TaskStatus = "queued" | "running" | "succeeded" | "failed";

export interface Task {
  id: string;
  novel_id: string;
  agent: string;
  instruction: string;
  status: TaskStatus;
  result: string | null;
  error: string | null;
  created_at: string;
  updated_at: string;
}

export interface Agent {
  name: string;
  title: string;
}

export interface Health {
  status: "ok" | "unavailable";
  /** For each thing the gateway needs: "ok", or why it cannot be used. */
  checks: Record<string, string>;
}

export type NovelDraft = Pick<Novel, "title" | "premise">;
export type TaskDraft = Pick<Task, "agent" | "instruction">;

export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    /** The gateway's own code, or "unreachable", "timeout", "unexpected_answer", "http_<status>". */
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

// Decoders: each returns the value with its type, or throws naming the place that does not fit.

type Decoder<T> = (value: unknown, path: string) => T;

class DecodeError extends Error {}

const string: Decoder<string> = (value, path) => {
  if (typeof value !== "string") throw new DecodeError(`${path} is not a string`);
  return value;
};

const timestamp: Decoder<string> = (value, path) => {
  const text = string(value, path);
  if (Number.isNaN(Date.parse(text))) throw new DecodeError(`${path} is not a time`);
  return text;
};

const nullable =
  <T>(decode: Decoder<T>): Decoder<T | null> =>
  (value, path) =>
    value === null ? null : decode(value, path);

const oneOf =
  <const T extends string>(...options: readonly T[]): Decoder<T> =>
  (value, path) => {
    const found = options.find((option) => option === value);
    if (found === undefined) throw new DecodeError(`${path} is none of ${options.join(", ")}`);
    return found;
  };

const entries = (value: unknown, path: string): [string, unknown][] => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DecodeError(`${path} is not an object`);
  }
  return Object.entries(value);
};

const record =
  <T>(decode: Decoder<T>): Decoder<Record<string, T>> =>
  (value, path) =>
    Object.fromEntries(
      entries(value, path).map(([key, item]) => [key, decode(item, `${path}.${key}`)]),
    );

const object =
  <T extends object>(fields: { [K in keyof T]: Decoder<T[K]> }): Decoder<T> =>
  (value, path) => {
    const given = new Map(entries(value, path));
    const decoded = entries(fields, path).map(([key, decode]) => [
      key,
      (decode as Decoder<unknown>)(given.get(key), `${path}.${key}`),
    ]);
    return Object.fromEntries(decoded) as T;
  };

const items = <T>(decode: Decoder<T>): Decoder<T[]> => {
  const list: Decoder<T[]> = (value, path) => {
    if (!Array.isArray(value)) throw new DecodeError(`${path} is not a list`);
    return value.map((item, index) => decode(item, `${path}[${index}]`));
  };
  const envelope = object<{ items: T[] }>({ items: list });
  return (value, path) => envelope(value, path).items;
};

const novel = object<Novel>({
  id: string,
  title: string,
  premise: string,
  created_at: timestamp,
});

const task = object<Task>({
  id: string,
  novel_id: string,
  agent: string,
  instruction: string,
  status: oneOf("queued", "running", "succeeded", "failed"),
  result: nullable(string),
  error: nullable(string),
  created_at: timestamp,
  updated_at: timestamp,
});

const agent = object<Agent>({ name: string, title: string });

const health = object<Health>({
  status: oneOf("ok", "unavailable"),
  checks: record(string),
});

const failure = object<{ error: { code: string; message: string } }>({
  error: object({ code: string, message: string }),
});

/** The failure that the body tells of in the API's own form, if it does. */
const toldFailure = (content: unknown): ApiError | undefined => {
  try {
    const { error } = failure(content, "answer");
    return new ApiError(error.code, error.message);
  } catch {
    return undefined;
  }
};

const nothing: Decoder<void> = () => undefined;

/** What the body says as JSON; undefined for none, or for a proxy's page in its stead. */
const parse = (body: string): unknown => {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
};

interface Request<T> {
  method?: "GET" | "POST" | "DELETE";
  path: string;
  body?: unknown;
  answer: Decoder<T>;
  signal?: AbortSignal | undefined;
  /** A status that carries an answer although it is no success. */
  alsoAnswers?: number;
}

export function createGateway({ base = "/api/v1", timeoutMs = 15_000 } = {}) {
  async function send<T>(request: Request<T>): Promise<T> {
    const { method = "GET", path, body, answer, signal, alsoAnswers } = request;
    const timeout = AbortSignal.timeout(timeoutMs);
    const headers = new Headers({ Accept: "application/json" });
    if (body !== undefined) headers.set("Content-Type", "application/json");

    let response: Response;
    let content: unknown;
    try {
      response = await fetch(`${base}${path}`, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      content = parse(await response.text());
    } catch (cause) {
      // The caller's own abort is no failure of the gateway: it goes back to the caller as it is.
      if (signal?.aborted) throw cause;
      if (timeout.aborted) {
        throw new ApiError("timeout", "The gateway took too long to answer.", { cause });
      }
      throw new ApiError("unreachable", "The gateway cannot be reached.", { cause });
    }

    if (!response.ok) {
      const told = toldFailure(content);
      if (told) throw told;
      if (response.status !== alsoAnswers) {
        const { status } = response;
        throw new ApiError(`http_${status}`, `The gateway answered with status ${status}.`);
      }
    }
    try {
      return answer(content, "answer");
    } catch (cause) {
      if (!(cause instanceof DecodeError)) throw cause;
      throw new ApiError("unexpected_answer", `Unexpected answer: ${cause.message}.`, { cause });
    }
  }

  const novelPath = (id: string) => `/novels/${encodeURIComponent(id)}`;

  return {
    health: (signal?: AbortSignal) =>
      send({ path: "/health", answer: health, signal, alsoAnswers: 503 }),
    agents: (signal?: AbortSignal) => send({ path: "/agents", answer: items(agent), signal }),
    novels: (signal?: AbortSignal) => send({ path: "/novels", answer: items(novel), signal }),
    novel: (id: string, signal?: AbortSignal) =>
      send({ path: novelPath(id), answer: novel, signal }),
    createNovel: (draft: NovelDraft) =>
      send({ method: "POST", path: "/novels", body: draft, answer: novel }),
    deleteNovel: (id: string) => send({ method: "DELETE", path: novelPath(id), answer: nothing }),
    tasks: (novelId: string, signal?: AbortSignal) =>
      send({ path: `${novelPath(novelId)}/tasks`, answer: items(task), signal }),
    createTask: (novelId: string, draft: TaskDraft) =>
      send({ method: "POST", path: `${novelPath(novelId)}/tasks`, body: draft, answer: task }),
  };
}

export const gateway = createGateway();
