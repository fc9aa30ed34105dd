import { type ApiError, gateway, type Health } from "./api";
import { useResource } from "./hooks";

const POLL_MS = 10_000;

const NAMES: Record<string, string> = { postgres: "PostgreSQL", redis: "Redis" };
const nameOf = (check: string) => NAMES[check] ?? check;

interface Verdict {
  tone: "waiting" | "good" | "bad";
  text: string;
  reason?: string;
}

function judge(health: Health | undefined, error: ApiError | undefined): Verdict {
  if (error?.code === "gateway_not_configured") {
    return { tone: "bad", text: "Gateway not configured", reason: error.message };
  }
  // The last good answer says nothing of a gateway that does not answer now.
  if (error) return { tone: "bad", text: "Gateway unreachable", reason: error.message };
  if (!health) return { tone: "waiting", text: "Checking the gateway…" };

  const missing = Object.entries(health.checks).filter(([, state]) => state !== "ok");
  if (health.status === "ok" && missing.length === 0) return { tone: "good", text: "All ready" };

  const names = new Intl.ListFormat("en").format(missing.map(([check]) => nameOf(check)));
  return {
    tone: "bad",
    text: `${names || "Gateway"} unavailable`,
    reason: missing.map(([check, why]) => `${nameOf(check)}: ${why}`).join("\n"),
  };
}

export function HealthBadge() {
  const { data, error } = useResource(gateway.health, () => POLL_MS);
  const { tone, text, reason } = judge(data, error);
  return (
    <p className={`badge ${tone}`} role="status" title={reason}>
      {text}
      {reason && <span className="visually-hidden"> ({reason})</span>}
    </p>
  );
}
