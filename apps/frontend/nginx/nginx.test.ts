/**
 * Runs the nginx on the PATH by the entrypoint and the configuration that are shipped, against
 * gateways of its own. Four things alone differ from the container: the port, the folder of the
 * static files, the one for what is written, and the patience with a silent gateway.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import { type AddressInfo, createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";

const HEADERS = {
  "content-security-policy": expect.stringMatching(/^default-src 'none'; script-src 'self';/),
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": expect.stringContaining("camera=()"),
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  server: "nginx",
};

let dir: string;
let port: number;
let running: ChildProcess | undefined;

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "nginx-test-"));
  // Started by root, nginx serves as another user, who is to get at the files too.
  fs.chmodSync(dir, 0o755);
  port = await freePort();

  const site = path.join(dir, "site");
  fs.mkdirSync(path.join(site, "assets"), { recursive: true });
  fs.writeFileSync(path.join(site, "index.html"), "<title>Page</title>");
  fs.writeFileSync(path.join(site, "favicon.svg"), "<svg/>");
  fs.writeFileSync(path.join(site, "assets/app-1a2b.js"), "plain");
  fs.writeFileSync(path.join(site, "assets/app-1a2b.js.gz"), "compressed");

  const changes = [
    ["/tmp/nginx", path.join(dir, "run")],
    ["/srv", site],
    ["8080", String(port)],
    ["proxy_read_timeout 60s", "proxy_read_timeout 1s"],
  ] as const;
  const made = { "nginx.conf": "", "docker-entrypoint.sh": "" };
  for (const name of Object.keys(made) as (keyof typeof made)[]) {
    made[name] = changes.reduce(
      (content, [from, to]) => content.replaceAll(from, to),
      fs.readFileSync(path.join(import.meta.dirname, name), "utf8"),
    );
    fs.writeFileSync(path.join(dir, name), made[name], { mode: 0o755 });
  }
});

afterEach(async () => {
  if (running?.exitCode === null) {
    running.kill("SIGTERM");
    await once(running, "exit");
  }
});

afterAll(() => fs.rmSync(dir, { recursive: true }));

/** The entrypoint, with this in its environment. Its output goes to files, as nginx opens it anew. */
function enter(gatewayUrl: string | undefined) {
  const { GATEWAY_URL: _, ...env } = process.env;
  const output = fs.openSync(path.join(dir, "output"), "w");
  const child = spawn(path.join(dir, "docker-entrypoint.sh"), {
    env: gatewayUrl === undefined ? env : { ...env, GATEWAY_URL: gatewayUrl },
    stdio: ["ignore", output, output],
  });
  fs.closeSync(output);
  running = child;
  return child;
}

const output = () => fs.readFileSync(path.join(dir, "output"), "utf8");

async function start(gatewayUrl?: string) {
  const child = enter(gatewayUrl);
  for (let tries = 0; tries < 100 && child.exitCode === null; tries++) {
    const answer = await get("/health").catch(() => undefined);
    if (answer?.status === 200) return child;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nginx did not come up:\n${output()}`);
}

interface Answer {
  status: number | undefined;
  headers: http.IncomingHttpHeaders;
  body: string;
}

/** By Node's own client, for `fetch` tidies paths up. */
async function get(url: string, options: http.RequestOptions = {}, body = ""): Promise<Answer> {
  const request = http.request({ host: "127.0.0.1", port, path: url, ...options });
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  const content = await text(response);
  return { status: response.statusCode, headers: response.headers, body: content };
}

const errorCode = ({ headers, body }: Answer) => {
  expect(headers["content-type"]).toBe("application/json");
  return JSON.parse(body).error.code;
};

async function gatewayAt(listenPort: number, handler: http.RequestListener, host = "127.0.0.1") {
  const server = http.createServer(handler).listen(listenPort, host);
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
}

describe("every answer", () => {
  it.each([
    ["/", 200, "no-cache"],
    ["/novels/n1", 200, "no-cache"],
    ["/favicon.svg", 200, "no-cache"],
    ["/assets/app-1a2b.js", 200, "public, max-age=31536000, immutable"],
    ["/assets/app-gone.js", 404, "no-store"],
    ["/assets/app-gone", 404, "no-store"],
    ["/gone.png", 404, "no-cache"],
    ["/health", 200, "no-cache"],
    ["/%00", 400, "no-cache"],
    ["/api/v1/novels", 503, undefined],
  ])("to %s is %d, with all headers", async (url, status, cacheControl) => {
    await start();
    const answer = await get(url);
    expect(answer.status).toBe(status);
    expect(answer.headers).toMatchObject(HEADERS);
    expect(answer.headers["cache-control"]).toBe(cacheControl);
  });
});

describe("static files", () => {
  it("fall back to the page, for paths of pages alone", async () => {
    await start();
    expect((await get("/novels/n1")).body).toBe("<title>Page</title>");
    expect((await get("/assets/app-gone.js")).body).not.toContain("Page");
  });

  it("come as they were compressed, to who takes it so", async () => {
    await start();
    const url = "/assets/app-1a2b.js";
    const compressed = await get(url, { headers: { "Accept-Encoding": "gzip" } });
    expect(compressed.body).toBe("compressed");
    expect(compressed.headers).toMatchObject({
      ...HEADERS,
      "content-encoding": "gzip",
      "content-type": "text/javascript; charset=utf-8",
      vary: "Accept-Encoding",
    });
    expect((await get(url)).body).toBe("plain");
  });

  it("are sent again to who has an older release, whatever the browser kept of it", async () => {
    await start();
    for (const url of ["/", "/novels/n1", "/favicon.svg"]) {
      const { headers } = await get(url);
      expect(headers).not.toHaveProperty("etag");
      expect(headers).not.toHaveProperty("last-modified");
      const { mtime, size } = fs.statSync(path.join(dir, "site/index.html"));
      const kept = {
        "If-Modified-Since": mtime.toUTCString(),
        "If-None-Match": `"${Math.floor(mtime.getTime() / 1000).toString(16)}-${size.toString(16)}"`,
      };
      for (const asked of [kept, { "If-Modified-Since": kept["If-Modified-Since"] }]) {
        expect((await get(url, { headers: asked })).status).toBe(200);
      }
    }
  });

  it("are not sent again where their names have their contents' hashes", async () => {
    await start();
    const url = "/assets/app-1a2b.js";
    const { etag } = (await get(url)).headers;
    const again = await get(url, { headers: { "If-None-Match": etag } });
    expect(again.status).toBe(304);
    const kept = "public, max-age=31536000, immutable";
    expect(again.headers).toMatchObject({ ...HEADERS, "cache-control": kept });
  });
});

describe("the gateway", () => {
  it("may be left out", async () => {
    await start();
    const answer = await get("/api/v1/page.html");
    expect(answer.status).toBe(503);
    expect(errorCode(answer)).toBe("gateway_not_configured");
    expect((await get("/health")).body).toBe("ok\n");
  });

  it.each(["http://127.0.0.1:%d", "http://localhost:%d/", "http://[::1]:%d"])(
    "at %s gets requests as they came",
    async (url) => {
      const gatewayPort = await freePort();
      const seen: http.IncomingMessage[] = [];
      const handler: http.RequestListener = async (request, response) => {
        seen.push(request);
        response.setHeader("X-Frame-Options", "SAMEORIGIN");
        response.setHeader("Cache-Control", "private");
        response.setHeader("ETag", '"of-the-gateway"');
        response.setHeader("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT");
        response.statusCode = 418;
        response.end(await text(request));
      };
      const authority = url.replace("%d", String(gatewayPort)).replace(/^http:..|\/$/g, "");
      await gatewayAt(gatewayPort, handler, url.includes("[") ? "::1" : "127.0.0.1");
      await start(url.replace("%d", String(gatewayPort)));

      const asked = "/api/v1/a%2Fb//c.html?x=%20y&z=/../";
      const answer = await get(
        asked,
        { method: "POST", headers: { Host: "scribe.test", "X-Forwarded-Proto": "https" } },
        "the body",
      );

      expect(answer.status).toBe(418);
      expect(answer.body).toBe("the body");
      expect(answer.headers).toMatchObject({
        ...HEADERS,
        "cache-control": "private",
        etag: '"of-the-gateway"',
        "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT",
      });
      expect(seen).toHaveLength(1);
      expect(seen[0]?.url).toBe(asked);
      expect(seen[0]?.headers).toMatchObject({
        host: authority,
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "scribe.test",
        "x-forwarded-proto": "https",
      });
    },
  );

  it("redirects within the site", async () => {
    const gatewayPort = await freePort();
    await gatewayAt(gatewayPort, (request, response) => {
      response.writeHead(307, { Location: `http://${request.headers.host}/api/v1/novels` }).end();
    });
    await start(`http://localhost:${gatewayPort}`);
    const { status, headers } = await get("/api/v1/novels/");
    expect(status).toBe(307);
    expect(headers.location).toBe("/api/v1/novels");
  });

  it("may come up later", async () => {
    const gatewayPort = await freePort();
    await start(`http://127.0.0.1:${gatewayPort}`);
    const down = await get("/api/v1/health");
    expect(down.status).toBe(502);
    expect(errorCode(down)).toBe("gateway_unreachable");
    expect(down.headers).toMatchObject(HEADERS);

    await gatewayAt(gatewayPort, (_request, response) => response.end("up"));
    expect(await get("/api/v1/health")).toMatchObject({ status: 200, body: "up" });
  });

  it("may have a name that nobody knows yet", async () => {
    await start("http://gateway.invalid:8000");
    const answer = await get("/api/v1/health");
    expect(answer.status).toBe(502);
    expect(errorCode(answer)).toBe("gateway_unreachable");
    expect((await get("/")).status).toBe(200);
  }, 15_000);

  it("may be silent, if not for ever", async () => {
    const gatewayPort = await freePort();
    await gatewayAt(gatewayPort, () => {});
    await start(`http://127.0.0.1:${gatewayPort}`);
    const answer = await get("/api/v1/health");
    expect(answer.status).toBe(504);
    expect(errorCode(answer)).toBe("gateway_timeout");
    expect(answer.headers).toMatchObject(HEADERS);
  });

  it("is not handed more than it may be", async () => {
    await start();
    const body = "x".repeat(1024 * 1024 + 1);
    const answer = await get("/api/v1/novels", { method: "POST" }, body);
    expect(answer.status).toBe(413);
    expect(errorCode(answer)).toBe("request_too_large");
    expect(answer.headers).toMatchObject(HEADERS);
  });

  it.each([
    "backend:8000",
    "ftp://backend",
    "http://",
    "http:///",
    "http://backend:0",
    "http://backend:65536",
    "http://backend:80:80",
    "http://backend:8000/base",
    "http://backend?x",
    "http://user@backend",
    "http://back end",
    " http://backend",
    "http://backend;",
    "http://backend{}",
    'http://backend"',
    "http://backend'",
    "http://backend\\",
    "http://$host",
    "http://`id`",
    "http://backend\n",
    "http://backend\nreturn 200",
    "http://[::1",
    "http://[::1;]",
    "http://-backend",
  ])("is refused at %j", async (url) => {
    const child = enter(url);
    const [code] = await once(child, "exit");
    expect(code).toBe(2);
    expect(output()).toMatch(/GATEWAY_URL is not a URL/);
  });
});

describe("signals", () => {
  it.each(["SIGTERM", "SIGQUIT"] as const)("ends well and soon on %s", async (signal) => {
    const child = await start();
    const asked = Date.now();
    child.kill(signal);
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(Date.now() - asked).toBeLessThan(2_000);
  });

  it("lets a request come to its end on SIGQUIT", async () => {
    const gatewayPort = await freePort();
    let answer = () => {};
    const asked = new Promise<void>((resolve) => {
      gatewayAt(gatewayPort, (_request, response) => {
        answer = () => response.end("in the end");
        resolve();
      });
    });
    const child = await start(`http://127.0.0.1:${gatewayPort}`);
    const request = get("/api/v1/novels");
    await asked;
    child.kill("SIGQUIT");
    await new Promise((resolve) => setTimeout(resolve, 200));
    answer();
    expect(await request).toMatchObject({ status: 200, body: "in the end" });
    expect(await once(child, "exit")).toEqual([0, null]);
  });
});
