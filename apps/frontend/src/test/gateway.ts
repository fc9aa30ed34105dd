import { vi } from "vitest";
import type { Agent, Novel, Task } from "../api";

export const json = (status: number, body: unknown) =>
  new Response(JSON.stringify(body), {
    status,
    headers: { "Content-Type": "application/json" },
  });

export const refusal = (status: number, code: string, message: string) =>
  json(status, { error: { code, message } });

const CREATED = "2026-03-01T09:30:00Z";

export const aNovel = (given: Partial<Novel> = {}): Novel => ({
  id: "n1",
  title: "The Lamplighter",
  premise: "A lamplighter who fears the dark.",
  created_at: CREATED,
  ...given,
});

export const aTask = (given: Partial<Task> = {}): Task => ({
  id: "t1",
  novel_id: "n1",
  agent: "writer",
  instruction: "Write the opening scene.",
  status: "queued",
  result: null,
  error: null,
  created_at: CREATED,
  updated_at: CREATED,
  ...given,
});

type Fault = (init: RequestInit) => Promise<Response> | Response;

/** A gateway that keeps its novels in memory, behind `fetch` as the pages see it. */
export class FakeGateway {
  novels: Novel[] = [];
  tasks: Task[] = [];
  agents: Agent[] = [
    { name: "writer", title: "Writer" },
    { name: "critic", title: "Critic" },
  ];
  health = () => json(200, { status: "ok", checks: { postgres: "ok", redis: "ok" } });

  /** What was asked for, as "GET /novels". */
  readonly requests: string[] = [];
  private readonly faults = new Map<string, Fault>();
  private made = 0;

  constructor() {
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => this.answer(url, init));
  }

  /** From now on answers this request so, until it is mended. */
  breakDown(request: string, answer: Fault) {
    this.faults.set(request, answer);
  }

  mend(request: string) {
    this.faults.delete(request);
  }

  asked(request: string) {
    return this.requests.filter((made) => made === request).length;
  }

  private async answer(url: string, init: RequestInit): Promise<Response> {
    init.signal?.throwIfAborted();
    const path = url.replace(/^\/api\/v1/, "");
    const request = `${init.method} ${path}`;
    this.requests.push(request);
    const fault = this.faults.get(request);
    if (fault) return fault(init);

    const [, kind, id, child] = path.split("/").map(decodeURIComponent);
    const body = typeof init.body === "string" ? JSON.parse(init.body) : undefined;
    const made = () => ({ id: `new-${++this.made}`, created_at: CREATED });

    if (request === "GET /health") return this.health();
    if (request === "GET /agents") return json(200, { items: this.agents });
    if (request === "GET /novels") return json(200, { items: this.novels });
    if (request === "POST /novels") {
      const novel = aNovel({ ...body, ...made() });
      this.novels = [novel, ...this.novels];
      return json(201, novel);
    }
    if (kind === "novels" && this.novels.some((novel) => novel.id === id)) {
      if (child === "tasks" && init.method === "GET") {
        return json(200, { items: this.tasks.filter((task) => task.novel_id === id) });
      }
      if (child === "tasks" && init.method === "POST") {
        const task = aTask({ ...body, ...made(), novel_id: id });
        this.tasks = [task, ...this.tasks];
        return json(201, task);
      }
      if (init.method === "DELETE") {
        this.novels = this.novels.filter((novel) => novel.id !== id);
        return new Response(null, { status: 204 });
      }
      return json(
        200,
        this.novels.find((novel) => novel.id === id),
      );
    }
    return refusal(404, "novel_not_found", "There is no such novel.");
  }
}
