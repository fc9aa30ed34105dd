import { describe, expect, it, vi } from "vitest";
import { createGateway } from "./api";
import { aNovel, aTask, json, refusal } from "./test/gateway";

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

function answering(answer: Response | Fetch) {
  const fetch = vi.fn<Fetch>(typeof answer === "function" ? answer : async () => answer);
  vi.stubGlobal("fetch", fetch);
  return fetch;
}

/** A server that never answers: all that ends the request is its signal. */
const silence: Fetch = (_url, { signal }) =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason));
  });

describe("requests", () => {
  it("posts a draft as JSON and answers what was made", async () => {
    const fetch = answering(json(201, aNovel()));
    const draft = { title: "The Lamplighter", premise: "A lamplighter who fears the dark." };

    await expect(createGateway().createNovel(draft)).resolves.toEqual(aNovel());

    const [url, init] = fetch.mock.lastCall ?? [];
    expect(url).toBe("/api/v1/novels");
    expect(init?.method).toBe("POST");
    expect(new Headers(init?.headers).get("Content-Type")).toBe("application/json");
    expect(JSON.parse(String(init?.body))).toEqual(draft);
  });

  it("escapes what it puts into a path", async () => {
    const fetch = answering(json(200, { items: [] }));
    await createGateway().tasks("../agents?x#y");
    expect(fetch.mock.lastCall?.[0]).toBe("/api/v1/novels/..%2Fagents%3Fx%23y/tasks");
  });

  it("takes an empty answer to a delete", async () => {
    answering(new Response(null, { status: 204 }));
    await expect(createGateway().deleteNovel("n1")).resolves.toBeUndefined();
  });
});

describe("answers", () => {
  it("keeps the order and drops fields it does not know", async () => {
    const items = [{ ...aTask({ id: "t2" }), attempts: 3 }, aTask()];
    answering(json(200, { items }));
    await expect(createGateway().tasks("n1")).resolves.toEqual([aTask({ id: "t2" }), aTask()]);
  });

  it.each([
    ["no JSON", "<html>", "answer is not an object"],
    ["a list without its envelope", [aTask()], "answer is not an object"],
    ["items that are no list", { items: {} }, "answer.items is not a list"],
    ["a missing field", { items: [{ ...aTask(), agent: undefined }] }, "[0].agent is not a string"],
    ["an unknown status", { items: [{ ...aTask(), status: "lost" }] }, "[0].status is none of"],
    ["a result of another type", { items: [aTask(), { ...aTask(), result: 7 }] }, "[1].result is"],
    ["no time", { items: [{ ...aTask(), created_at: "noon" }] }, "[0].created_at is not a time"],
  ])("refuses %s, naming the place", async (_what, body, place) => {
    answering(typeof body === "string" ? new Response(body) : json(200, body));
    await expect(createGateway().tasks("n1")).rejects.toMatchObject({
      code: "unexpected_answer",
      message: expect.stringContaining(place),
    });
  });

  it("reads the health of a gateway that is not well", async () => {
    const sick = { status: "unavailable", checks: { postgres: "ok", redis: "refused" } };
    answering(json(503, sick));
    await expect(createGateway().health()).resolves.toEqual(sick);
  });
});

describe("failures", () => {
  it("carries the gateway's own code and message", async () => {
    answering(refusal(404, "novel_not_found", "There is no such novel."));
    await expect(createGateway().novel("n1")).rejects.toMatchObject({
      name: "ApiError",
      code: "novel_not_found",
      message: "There is no such novel.",
    });
  });

  it("does not take a failure on the way for the gateway's health", async () => {
    answering(refusal(503, "gateway_not_configured", "No gateway."));
    await expect(createGateway().health()).rejects.toMatchObject({
      code: "gateway_not_configured",
    });
  });

  it("tells the status of a failure that does not say more", async () => {
    answering(new Response("<h1>Too large</h1>", { status: 413 }));
    await expect(createGateway().novels()).rejects.toMatchObject({
      code: "http_413",
      message: "The gateway answered with status 413.",
    });
  });

  it("tells of a gateway that cannot be reached", async () => {
    answering(async () => {
      throw new TypeError("Failed to fetch");
    });
    await expect(createGateway().novels()).rejects.toMatchObject({ code: "unreachable" });
  });

  it.each([
    ["", undefined],
    [", though the caller would wait", new AbortController().signal],
  ])("gives up on a gateway that does not answer in time%s", async (_but, signal) => {
    answering(silence);
    await expect(createGateway({ timeoutMs: 20 }).novels(signal)).rejects.toMatchObject({
      code: "timeout",
    });
  });

  it("leaves the caller's own abort as it is", async () => {
    answering(silence);
    const controller = new AbortController();
    const asked = createGateway().novels(controller.signal);
    controller.abort(new Error("left the page"));
    await expect(asked).rejects.toThrow("left the page");
  });
});
