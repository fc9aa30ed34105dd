import { type ReactNode, useEffect, useRef } from "react";
import type { ApiError } from "./api";

/** The page's heading. It takes the focus, so that a new page is where reading goes on. */
export function PageTitle({ children }: { children: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${children} · Infinite Scribe`;
    heading.current?.focus();
  }, [children]);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children}
    </h1>
  );
}

export function Loading({ children }: { children: string }) {
  return (
    <p className="quiet loading" role="status">
      {children}
    </p>
  );
}

export function Failure({ error, onRetry }: { error: ApiError; onRetry?: () => void }) {
  return (
    <div className="failure" role="alert">
      <p>{error.message}</p>
      {onRetry && (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <p className="quiet empty">{children}</p>;
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function Moment({ at }: { at: string }) {
  return <time dateTime={at}>{moment.format(new Date(at))}</time>;
}

export const count = (number: number, noun: string) =>
  number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
