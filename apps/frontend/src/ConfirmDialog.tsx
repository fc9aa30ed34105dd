import { type ReactNode, type SyntheticEvent, useId, useLayoutEffect, useRef } from "react";
import { useAction } from "./hooks";
import { Failure } from "./ui";

interface Props {
  heading: string;
  children: ReactNode;
  confirmLabel: string;
  confirm: () => Promise<unknown>;
  onDone: () => void;
  onCancel: () => void;
}

/** Asks before something that cannot be undone. It is shown for as long as it is rendered. */
export function ConfirmDialog(props: Props) {
  const { heading, children, confirmLabel, confirm, onDone, onCancel } = props;
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  const action = useAction(confirm);

  // A layout effect, for it ends before the element goes: closing gives the focus back.
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);

  const handleEscape = (event: SyntheticEvent) => {
    event.preventDefault();
    onCancel();
  };

  const handleConfirm = async () => {
    if (!action.pending && (await action.run())) onDone();
  };

  return (
    <dialog ref={dialog} className="card" aria-labelledby={id} onCancel={handleEscape}>
      <h2 id={id}>{heading}</h2>
      <p>{children}</p>
      {action.error && <Failure error={action.error} />}
      <div className="choices">
        <button type="button" onClick={onCancel}>
          Keep it
        </button>
        <button
          type="button"
          className="danger"
          aria-disabled={action.pending}
          onClick={handleConfirm}
        >
          {confirmLabel}
        </button>
      </div>
    </dialog>
  );
}
