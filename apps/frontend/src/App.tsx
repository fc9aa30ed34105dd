import { HealthBadge } from "./HealthBadge";
import { NovelPage } from "./NovelPage";
import { NovelsPage } from "./NovelsPage";
import { followLink, novelsPath, useRoute } from "./route";
import { PageTitle } from "./ui";

export function App() {
  return (
    <>
      <header className="masthead">
        <a className="brand" href={novelsPath} onClick={followLink}>
          <img src="/favicon.svg" alt="" width="28" height="28" />
          Infinite Scribe
        </a>
        <HealthBadge />
      </header>
      <main>
        <Page />
      </main>
    </>
  );
}

function Page() {
  const route = useRoute();
  switch (route.page) {
    case "novels":
      return <NovelsPage />;
    case "novel":
      return <NovelPage key={route.id} id={route.id} />;
    case "unknown":
      return (
        <>
          <PageTitle>No such page</PageTitle>
          <p>
            There is nothing here.{" "}
            <a href={novelsPath} onClick={followLink}>
              Go to your novels
            </a>
          </p>
        </>
      );
  }
}
