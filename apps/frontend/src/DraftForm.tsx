import { type ReactNode, type SubmitEvent, useId, useState } from "react";
import { useAction } from "./hooks";
import { Failure } from "./ui";

interface Control {
  id: string;
  name: string;
  "aria-invalid": boolean;
  "aria-describedby": string | undefined;
}

interface Field {
  label: string;
  /** What is said when it is left blank; without it, it may be. */
  missing?: string;
  /** Draws the control, with what ties it to its label and its error. */
  control: (props: Control) => ReactNode;
}

interface Props<Name extends string> {
  heading: string;
  submitLabel: string;
  fields: Record<Name, Field>;
  submit: (draft: Record<Name, string>) => Promise<unknown>;
  onDone: () => void;
}

/** A form whose fields are all text. It keeps what was typed until it is taken. */
export function DraftForm<Name extends string>(props: Props<Name>) {
  const { heading, submitLabel, fields, submit, onDone } = props;
  const id = useId();
  const action = useAction(submit);
  const [blank, setBlank] = useState<ReadonlySet<Name>>(new Set());
  const names = Object.keys(fields) as Name[];

  const handleSubmit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (action.pending) return;

    const form = event.currentTarget;
    const given = new FormData(form);
    const draft = Object.fromEntries(
      names.map((name) => [name, String(given.get(name) ?? "").trim()]),
    ) as Record<Name, string>;

    const missing = names.filter((name) => fields[name].missing && draft[name] === "");
    setBlank(new Set(missing));
    if (missing[0] !== undefined) {
      form.querySelector<HTMLElement>(`[name="${missing[0]}"]`)?.focus();
      return;
    }
    if (await action.run(draft)) {
      form.reset();
      onDone();
    }
  };

  return (
    <form className="card composer" aria-labelledby={id} noValidate onSubmit={handleSubmit}>
      <h2 id={id}>{heading}</h2>
      {names.map((name) => {
        const { label, missing, control } = fields[name];
        const controlId = `${id}-${name}`;
        const errorId = `${controlId}-error`;
        const invalid = blank.has(name);
        return (
          <div className="field" key={name}>
            <label htmlFor={controlId}>{label}</label>
            {control({
              id: controlId,
              name,
              "aria-invalid": invalid,
              "aria-describedby": invalid ? errorId : undefined,
            })}
            {invalid && (
              <p className="field-error" id={errorId}>
                {missing}
              </p>
            )}
          </div>
        );
      })}
      {action.error && <Failure error={action.error} />}
      {/* Not disabled while it waits: that would take the focus away. */}
      <button type="submit" className="primary" aria-disabled={action.pending}>
        {action.pending ? "One moment…" : submitLabel}
      </button>
    </form>
  );
}
