import { useCallback } from "react";
import { gateway, type Task, type TaskStatus } from "./api";
import { DraftForm } from "./DraftForm";
import { useResource } from "./hooks";
import { followLink, novelsPath } from "./route";
import { count, Empty, Failure, Loading, Moment, PageTitle } from "./ui";

const POLL_MS = 2_000;

const STATUS: Record<TaskStatus, string> = {
  queued: "Queued",
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
};

const isActive = ({ status }: Task) => status === "queued" || status === "running";

function summary(tasks: Task[]) {
  const statuses = Object.keys(STATUS) as TaskStatus[];
  const parts = statuses
    .map((status) => ({ status, of: tasks.filter((task) => task.status === status).length }))
    .filter(({ of }) => of > 0)
    .map(({ status, of }) => `${of} ${status}`);
  return [count(tasks.length, "task"), ...parts].join(" · ");
}

export function NovelPage({ id }: { id: string }) {
  const loadNovel = useCallback((signal: AbortSignal) => gateway.novel(id, signal), [id]);
  const loadTasks = useCallback((signal: AbortSignal) => gateway.tasks(id, signal), [id]);
  const novel = useResource(loadNovel);
  const agents = useResource(gateway.agents);
  const tasks = useResource(loadTasks, (data) => (data?.some(isActive) ? POLL_MS : undefined));

  const agentTitle = (name: string) =>
    agents.data?.find((agent) => agent.name === name)?.title ?? name;

  const back = (
    <p>
      <a className="back" href={novelsPath} onClick={followLink}>
        All novels
      </a>
    </p>
  );

  if (!novel.data) {
    return (
      <>
        {back}
        {novel.error ? (
          <>
            <PageTitle>This novel cannot be opened</PageTitle>
            <Failure error={novel.error} onRetry={novel.reload} />
          </>
        ) : (
          <Loading>Opening the novel…</Loading>
        )}
      </>
    );
  }

  return (
    <>
      {back}
      <PageTitle>{novel.data.title}</PageTitle>
      {novel.data.premise && <p className="premise lead">{novel.data.premise}</p>}
      <div className="columns">
        {agents.data ? (
          <DraftForm
            heading="Give an agent a task"
            submitLabel="Create task"
            fields={{
              agent: {
                label: "Agent",
                missing: "Choose who is to do it.",
                control: (props) => (
                  <select {...props} defaultValue="">
                    <option value="">Choose an agent…</option>
                    {agents.data?.map(({ name, title }) => (
                      <option key={name} value={name}>
                        {title}
                      </option>
                    ))}
                  </select>
                ),
              },
              instruction: {
                label: "Instruction",
                missing: "Say what the agent is to do.",
                control: (props) => <textarea {...props} rows={5} maxLength={4000} />,
              },
            }}
            submit={(draft) => gateway.createTask(id, draft)}
            onDone={tasks.reload}
          />
        ) : (
          <div className="card composer">
            {agents.error ? (
              <Failure error={agents.error} onRetry={agents.reload} />
            ) : (
              <Loading>Calling the agents…</Loading>
            )}
          </div>
        )}
        <section aria-labelledby="tasks">
          <header className="list-head">
            <h2 id="tasks">Tasks</h2>
            {/* Said aloud whenever it changes: how a task that is polled for comes to its end. */}
            <p className="quiet" role="status">
              {tasks.data && summary(tasks.data)}
            </p>
          </header>
          {tasks.error && <Failure error={tasks.error} onRetry={tasks.reload} />}
          {!tasks.data && !tasks.error && <Loading>Loading the tasks…</Loading>}
          {tasks.data?.length === 0 && (
            <Empty>No tasks yet. Choose an agent and tell it what to do.</Empty>
          )}
          <ul className="list">
            {tasks.data?.map((task) => (
              <TaskCard key={task.id} task={task} agent={agentTitle(task.agent)} />
            ))}
          </ul>
        </section>
      </div>
    </>
  );
}

function TaskCard({ task, agent }: { task: Task; agent: string }) {
  return (
    <li className="card task">
      <header>
        <h3>{agent}</h3>
        <span className={`status ${task.status}`}>{STATUS[task.status]}</span>
      </header>
      <p className="instruction">{task.instruction}</p>
      {task.result !== null && (
        <details open>
          <summary>Result</summary>
          <div className="manuscript">{task.result}</div>
        </details>
      )}
      {task.error !== null && <p className="reason">{task.error}</p>}
      <footer className="quiet">
        <Moment at={task.created_at} />
      </footer>
    </li>
  );
}
