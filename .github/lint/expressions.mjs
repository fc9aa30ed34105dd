// Evaluates expressions with GitHub's own code. The rehearsal of the workflows is
// compared with it. It reads lines of JSON, first the contexts and then one
// expression per line, and writes `{"value": …}` or `{"error": …}` per line.
import { readFileSync } from "node:fs";
import { Evaluator, Lexer, Parser } from "@actions/expressions";
import { replacer } from "@actions/expressions/data/replacer";
import { reviver } from "@actions/expressions/data/reviver";

const [contexts, ...expressions] = readFileSync(0, "utf8").trimEnd().split("\n");
const known = JSON.parse(contexts, reviver);
const names = known.pairs().map(({ key }) => key);

function evaluate(text) {
  const tree = new Parser(new Lexer(text).lex().tokens, names, []).parse();
  if (!tree) throw new Error("it is empty");
  return new Evaluator(tree, known).evaluate();
}

for (const line of expressions) {
  try {
    const value = evaluate(JSON.parse(line));
    console.log(`{"value":${JSON.stringify(value, replacer)}}`);
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message) }));
  }
}
