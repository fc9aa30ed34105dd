import { useRef, useState } from "react";
import { flushSync } from "react-dom";
import { gateway, type Novel } from "./api";
import { ConfirmDialog } from "./ConfirmDialog";
import { DraftForm } from "./DraftForm";
import { useResource } from "./hooks";
import { followLink, novelPath } from "./route";
import { count, Empty, Failure, Loading, Moment, PageTitle } from "./ui";

export function NovelsPage() {
  const novels = useResource(gateway.novels);
  const [doomed, setDoomed] = useState<Novel>();
  const listHeading = useRef<HTMLHeadingElement>(null);

  const handleDeleted = () => {
    // The button that had the focus goes with its novel, so the focus moves to the list; at once,
    // for nothing beside an open dialog can take it.
    flushSync(() => setDoomed(undefined));
    listHeading.current?.focus();
    novels.reload();
  };

  return (
    <>
      <PageTitle>Your novels</PageTitle>
      <div className="columns">
        <DraftForm
          heading="Begin a novel"
          submitLabel="Create novel"
          fields={{
            title: {
              label: "Title",
              missing: "A novel needs a title.",
              control: (props) => <input {...props} maxLength={200} autoComplete="off" />,
            },
            premise: {
              label: "Premise (optional)",
              control: (props) => <textarea {...props} rows={5} maxLength={4000} />,
            },
          }}
          submit={gateway.createNovel}
          onDone={novels.reload}
        />
        <section aria-labelledby="novels">
          <header className="list-head">
            <h2 id="novels" ref={listHeading} tabIndex={-1}>
              On the shelf
            </h2>
            <p className="quiet" role="status">
              {novels.data && count(novels.data.length, "novel")}
            </p>
          </header>
          {novels.error && <Failure error={novels.error} onRetry={novels.reload} />}
          {!novels.data && !novels.error && <Loading>Loading your novels…</Loading>}
          {novels.data?.length === 0 && (
            <Empty>The shelf is empty. Every novel starts with a title.</Empty>
          )}
          <ul className="list">
            {novels.data?.map((novel) => (
              <li key={novel.id} className="card novel">
                <h3>
                  <a href={novelPath(novel.id)} onClick={followLink}>
                    {novel.title}
                  </a>
                </h3>
                {novel.premise && <p className="premise">{novel.premise}</p>}
                <footer>
                  <span className="quiet">
                    Begun <Moment at={novel.created_at} />
                  </span>
                  <button
                    type="button"
                    className="subtle"
                    aria-label={`Delete ${novel.title}`}
                    onClick={() => setDoomed(novel)}
                  >
                    Delete
                  </button>
                </footer>
              </li>
            ))}
          </ul>
        </section>
      </div>
      {doomed && (
        <ConfirmDialog
          heading={`Delete “${doomed.title}”?`}
          confirmLabel="Delete novel"
          confirm={() => gateway.deleteNovel(doomed.id)}
          onDone={handleDeleted}
          onCancel={() => setDoomed(undefined)}
        >
          The novel goes with all its tasks and what they wrote. This cannot be undone.
        </ConfirmDialog>
      )}
    </>
  );
}
