import { act, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { App } from "./App";
import { aNovel, aTask, FakeGateway, json, refusal } from "./test/gateway";

let gateway: FakeGateway;
let user: ReturnType<typeof userEvent.setup>;

beforeEach(() => {
  // Time goes on by itself, and on demand: for what the pages poll.
  vi.useFakeTimers({ shouldAdvanceTime: true });
  user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime });
  gateway = new FakeGateway();
});

afterEach(() => {
  vi.useRealTimers();
});

function open(path: string) {
  window.history.replaceState(null, "", path);
  render(<App />);
}

const later = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
const titles = () => screen.queryAllByRole("heading", { level: 3 }).map((h) => h.textContent);
const button = (name: string) => screen.getByRole("button", { name });

describe("the novels", () => {
  it("are listed as the gateway orders them", async () => {
    gateway.novels = [aNovel({ id: "n2", title: "Tide Tables" }), aNovel()];
    open("/");
    await screen.findByText("2 novels");
    expect(titles()).toEqual(["Tide Tables", "The Lamplighter"]);
    expect(document.title).toBe("Your novels · Infinite Scribe");
  });

  it("say so when there are none", async () => {
    open("/");
    expect(screen.getByText("Loading your novels…")).toBeTruthy();
    expect(await screen.findByText(/^The shelf is empty/)).toBeTruthy();
    expect(screen.queryByText("Loading your novels…")).toBeNull();
  });

  it("can be asked for again when loading them failed", async () => {
    gateway.novels = [aNovel()];
    gateway.breakDown("GET /novels", () => refusal(503, "db_down", "The database is away."));
    open("/");
    expect((await screen.findByRole("alert")).textContent).toContain("The database is away.");

    gateway.mend("GET /novels");
    await user.click(button("Try again"));
    expect(await screen.findByText("1 novel")).toBeTruthy();
    expect(screen.queryByRole("alert")).toBeNull();
  });

  it("grow by one that is created, and the form is empty again", async () => {
    open("/");
    const title = screen.getByLabelText<HTMLInputElement>("Title");
    await user.type(title, "  Tide Tables ");
    await user.type(screen.getByLabelText(/^Premise/), "An almanac that is always right.");
    await user.click(button("Create novel"));

    const link = await screen.findByRole("link", { name: "Tide Tables" });
    expect(link.getAttribute("href")).toBe("/novels/new-1");
    expect(gateway.novels[0]).toMatchObject({
      title: "Tide Tables",
      premise: "An almanac that is always right.",
    });
    expect(title.value).toBe("");
  });

  it("are not created from blanks", async () => {
    open("/");
    await user.type(screen.getByLabelText("Title"), "   ");
    await user.click(button("Create novel"));

    const title = screen.getByLabelText("Title");
    expect(title.getAttribute("aria-invalid")).toBe("true");
    const told = document.getElementById(title.getAttribute("aria-describedby") ?? "");
    expect(told?.textContent).toBe("A novel needs a title.");
    expect(document.activeElement).toBe(title);
    expect(gateway.asked("POST /novels")).toBe(0);
  });

  it("keep what was typed when creating one fails", async () => {
    gateway.breakDown("POST /novels", () => refusal(422, "invalid", "That title is taken."));
    open("/");
    await user.type(screen.getByLabelText("Title"), "Tide Tables");
    await user.type(screen.getByLabelText(/^Premise/), "An almanac.");
    await user.click(button("Create novel"));

    expect((await screen.findByRole("alert")).textContent).toContain("That title is taken.");
    expect(screen.getByLabelText<HTMLInputElement>("Title").value).toBe("Tide Tables");
  });

  it("are created once, however often the button is pressed meanwhile", async () => {
    let answer = (_: Response) => {};
    gateway.breakDown("POST /novels", () => new Promise((resolve) => (answer = resolve)));
    open("/");
    await user.type(screen.getByLabelText("Title"), "Tide Tables");
    await user.click(button("Create novel"));
    await user.click(button("One moment…"));
    expect(gateway.asked("POST /novels")).toBe(1);

    await act(async () => answer(json(201, aNovel())));
    expect(await screen.findByRole("button", { name: "Create novel" })).toBeTruthy();
  });
});

describe("deleting a novel", () => {
  beforeEach(async () => {
    gateway.novels = [aNovel({ id: "n2", title: "Tide Tables" }), aNovel()];
    open("/");
    await user.click(await screen.findByRole("button", { name: "Delete Tide Tables" }));
  });

  const dialog = () => screen.getByRole("dialog", { name: "Delete “Tide Tables”?" });

  it("happens when it is confirmed", async () => {
    await user.click(within(dialog()).getByRole("button", { name: "Delete novel" }));
    expect(await screen.findByText("1 novel")).toBeTruthy();
    expect(titles()).toEqual(["The Lamplighter"]);
    expect(screen.queryByRole("dialog")).toBeNull();
    expect(document.activeElement?.textContent).toBe("On the shelf");
  });

  it("does not happen when it is not", async () => {
    await user.click(within(dialog()).getByRole("button", { name: "Keep it" }));
    expect(screen.queryByRole("dialog")).toBeNull();
    expect(gateway.asked("DELETE /novels/n2")).toBe(0);
    expect(titles()).toEqual(["Tide Tables", "The Lamplighter"]);
  });

  it("says why it failed", async () => {
    gateway.breakDown("DELETE /novels/n2", () => refusal(409, "busy", "A task is running."));
    await user.click(within(dialog()).getByRole("button", { name: "Delete novel" }));
    expect((await within(dialog()).findByRole("alert")).textContent).toBe("A task is running.");
    expect(titles()).toEqual(["Tide Tables", "The Lamplighter"]);
  });
});

describe("a novel", () => {
  it("is opened from the list, and left the same way", async () => {
    gateway.novels = [aNovel()];
    open("/");
    await user.click(await screen.findByRole("link", { name: "The Lamplighter" }));
    const heading = await screen.findByRole("heading", { level: 1, name: "The Lamplighter" });
    expect(window.location.pathname).toBe("/novels/n1");
    expect(document.activeElement).toBe(heading);
    expect(await screen.findByText(/^No tasks yet/)).toBeTruthy();

    await user.click(screen.getByRole("link", { name: "All novels" }));
    expect(await screen.findByRole("heading", { name: "Your novels" })).toBeTruthy();
  });

  it("that does not exist is told of", async () => {
    open("/novels/gone");
    expect((await screen.findByRole("alert")).textContent).toContain("There is no such novel.");
  });

  it("is nowhere but at its own path", () => {
    open("/novels/n1/%E0/more");
    expect(screen.getByRole("heading", { name: "No such page" })).toBeTruthy();
  });
});

describe("a novel's tasks", () => {
  beforeEach(() => {
    gateway.novels = [aNovel()];
  });

  const status = (name: string) =>
    within(screen.getByRole("list")).getByText(name, { selector: ".status" });

  it("are created for the chosen agent", async () => {
    open("/novels/n1");
    await user.selectOptions(await screen.findByLabelText("Agent"), "Critic");
    await user.type(screen.getByLabelText("Instruction"), "Judge the opening.");
    await user.click(button("Create task"));

    expect(await screen.findByText("1 task · 1 queued")).toBeTruthy();
    expect(titles()).toEqual(["Critic"]);
    expect(gateway.tasks[0]).toMatchObject({ agent: "critic", instruction: "Judge the opening." });
  });

  it("need an agent", async () => {
    open("/novels/n1");
    const agent = await screen.findByLabelText("Agent");
    await user.type(screen.getByLabelText("Instruction"), "Judge the opening.");
    await user.click(button("Create task"));
    expect(screen.getByText("Choose who is to do it.")).toBeTruthy();
    expect(document.activeElement).toBe(agent);
    expect(gateway.tasks).toEqual([]);
  });

  it("are followed until they are done, and no longer", async () => {
    gateway.tasks = [aTask()];
    open("/novels/n1");
    await screen.findByText("1 task · 1 queued");

    gateway.tasks = [aTask({ status: "running" })];
    await later(2_000);
    expect(status("Running")).toBeTruthy();
    expect(screen.queryByText("Result")).toBeNull();

    gateway.tasks = [aTask({ status: "succeeded", result: "It was\n  a dark night." })];
    await later(2_000);
    expect(status("Succeeded")).toBeTruthy();
    expect(screen.getByText("1 task · 1 succeeded").getAttribute("role")).toBe("status");
    expect(screen.getByRole("list").querySelector(".manuscript")?.textContent).toBe(
      "It was\n  a dark night.",
    );

    const asked = gateway.asked("GET /novels/n1/tasks");
    await later(20_000);
    expect(gateway.asked("GET /novels/n1/tasks")).toBe(asked);
  });

  it("are followed on when the gateway was away for a moment", async () => {
    gateway.tasks = [aTask({ status: "running" })];
    open("/novels/n1");
    await screen.findByText("1 task · 1 running");

    gateway.breakDown("GET /novels/n1/tasks", () => Promise.reject(new TypeError("no route")));
    await later(2_000);
    expect(screen.getByRole("alert").textContent).toContain("The gateway cannot be reached.");
    expect(status("Running")).toBeTruthy();

    gateway.mend("GET /novels/n1/tasks");
    gateway.tasks = [aTask({ status: "succeeded", result: "Done." })];
    await later(2_000);
    expect(status("Succeeded")).toBeTruthy();
    expect(screen.queryByRole("alert")).toBeNull();
  });

  it("are no longer asked for once the page is left", async () => {
    gateway.tasks = [aTask({ status: "running" })];
    open("/novels/n1");
    await screen.findByText("1 task · 1 running");
    await user.click(screen.getByRole("link", { name: "All novels" }));
    await screen.findByText("1 novel");

    const asked = gateway.asked("GET /novels/n1/tasks");
    await later(20_000);
    expect(gateway.asked("GET /novels/n1/tasks")).toBe(asked);
  });

  it("are not waited for once the page is left", async () => {
    const signals: (AbortSignal | null | undefined)[] = [];
    gateway.breakDown("GET /novels/n1/tasks", ({ signal }) => {
      signals.push(signal);
      return new Promise(() => {});
    });
    open("/novels/n1");
    await screen.findByText("Loading the tasks…");
    await user.click(screen.getByRole("link", { name: "All novels" }));
    expect(signals.map((signal) => signal?.aborted)).toEqual([true]);
  });

  it("say why they failed", async () => {
    gateway.tasks = [aTask({ agent: "retired", status: "failed", error: "The model said no." })];
    open("/novels/n1");
    expect(await screen.findByText("The model said no.")).toBeTruthy();
    expect(status("Failed")).toBeTruthy();
    expect(titles()).toEqual(["retired"]);
  });

  it("can be read even if the agents are not to be had", async () => {
    gateway.tasks = [aTask({ status: "succeeded", result: "It was a dark night." })];
    gateway.breakDown("GET /agents", () => refusal(500, "internal", "No agents today."));
    open("/novels/n1");
    expect(await screen.findByText("It was a dark night.")).toBeTruthy();
    expect(screen.getByRole("alert").textContent).toContain("No agents today.");
  });
});

describe("the gateway's health", () => {
  const unwell = (checks: Record<string, string>) => () =>
    json(503, { status: "unavailable", checks });

  it.each([
    ["all is well", undefined, "All ready"],
    ["Redis is missing", unwell({ postgres: "ok", redis: "refused" }), "Redis unavailable"],
    [
      "both are missing",
      unwell({ postgres: "no answer", redis: "refused" }),
      "PostgreSQL and Redis unavailable",
    ],
    ["the gateway is down", () => new Response("", { status: 502 }), "Gateway unreachable"],
    [
      "there is no gateway",
      () => refusal(503, "gateway_not_configured", "No gateway is set."),
      "Gateway not configured",
    ],
  ])("is told when %s", async (_when, health, told) => {
    if (health) gateway.health = health;
    open("/");
    const badge = await screen.findByText(told);
    expect(badge.getAttribute("role")).toBe("status");
  });

  it("names the reason and follows what changes", async () => {
    gateway.health = unwell({ postgres: "ok", redis: "connection refused" });
    open("/");
    const badge = await screen.findByText("Redis unavailable");
    expect(badge.textContent).toContain("Redis: connection refused");

    gateway.health = () => json(200, { status: "ok", checks: { postgres: "ok", redis: "ok" } });
    await later(10_000);
    expect(badge.textContent).toBe("All ready");

    gateway.breakDown("GET /health", () => Promise.reject(new TypeError("no route")));
    await later(10_000);
    expect(badge.textContent).toContain("Gateway unreachable");
  });
});
