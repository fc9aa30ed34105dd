import { useCallback, useEffect, useEffectEvent, useState } from "react";
import { ApiError } from "./api";

const asApiError = (cause: unknown) =>
  cause instanceof ApiError
    ? cause
    : new ApiError("unexpected", "Something went wrong in this page.", { cause });

interface Loaded<T> {
  /** The last answer, kept while a later one is awaited or has failed. */
  data: T | undefined;
  /** Why the last attempt failed; gone with the next success. */
  error: ApiError | undefined;
}

export interface Resource<T> extends Loaded<T> {
  reload: () => void;
}

/**
 * What `load` answers: asked for when the component appears, on `reload`, and again as many
 * milliseconds after each attempt as `pollDelay` says, if it does.
 */
export function useResource<T>(
  load: (signal: AbortSignal) => Promise<T>,
  pollDelay: (data: T | undefined) => number | undefined = () => undefined,
): Resource<T> {
  const [loaded, setLoaded] = useState<Loaded<T>>({ data: undefined, error: undefined });
  const [round, setRound] = useState(0);

  const settle = useEffectEvent((outcome: Loaded<T>) => {
    const { data = loaded.data, error } = outcome;
    setLoaded({ data, error });
    return pollDelay(data);
  });

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new round is there to load anew
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    let timer: ReturnType<typeof setTimeout>;

    const attempt = async () => {
      const outcome: Loaded<T> = await load(signal).then(
        (data) => ({ data, error: undefined }),
        (cause) => ({ data: undefined, error: asApiError(cause) }),
      );
      if (signal.aborted) return;
      const delay = settle(outcome);
      if (delay !== undefined) timer = setTimeout(attempt, delay);
    };

    attempt();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [load, round]);

  const reload = useCallback(() => setRound((count) => count + 1), []);
  return { ...loaded, reload };
}

export interface Action<Args extends unknown[]> {
  pending: boolean;
  error: ApiError | undefined;
  /** Resolves to whether it succeeded. */
  run: (...args: Args) => Promise<boolean>;
}

/** Something the user sets off, with what a form or a dialog shows of it. */
export function useAction<Args extends unknown[]>(
  perform: (...args: Args) => Promise<unknown>,
): Action<Args> {
  const [pending, setPending] = useState(false);
  const [error, setError] = useState<ApiError>();

  const run = async (...args: Args) => {
    setPending(true);
    setError(undefined);
    try {
      await perform(...args);
      return true;
    } catch (cause) {
      setError(asApiError(cause));
      return false;
    } finally {
      setPending(false);
    }
  };
  return { pending, error, run };
}
