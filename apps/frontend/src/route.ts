import { type MouseEvent, useSyncExternalStore } from "react";

export type Route = { page: "novels" } | { page: "novel"; id: string } | { page: "unknown" };

export const novelsPath = "/";
export const novelPath = (id: string) => `/novels/${encodeURIComponent(id)}`;

export function matchRoute(pathname: string): Route {
  if (pathname === novelsPath) return { page: "novels" };
  const segment = /^\/novels\/([^/]+)\/?$/.exec(pathname)?.[1];
  try {
    if (segment !== undefined) return { page: "novel", id: decodeURIComponent(segment) };
  } catch {
    // Not a valid escape sequence, so not a path this application ever made.
  }
  return { page: "unknown" };
}

function subscribe(onChange: () => void) {
  window.addEventListener("popstate", onChange);
  return () => window.removeEventListener("popstate", onChange);
}

export function useRoute(): Route {
  return matchRoute(useSyncExternalStore(subscribe, () => window.location.pathname));
}

/** For a link's onClick: goes there without loading the page anew. */
export function followLink(event: MouseEvent<HTMLAnchorElement>) {
  // A new tab, a new window or a download is the browser's business.
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return;
  event.preventDefault();
  window.history.pushState(null, "", event.currentTarget.href);
  window.dispatchEvent(new PopStateEvent("popstate"));
}
