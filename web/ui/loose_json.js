// JSON as Python writes it: with bare NaN and Infinity, which are no JSON and which a node's output may hold.

const STRING_OR_NO_NUMBER = /"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g;

/** Parse, taking numbers that are none as null. Throws SyntaxError like JSON.parse. */
export function parseLooseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(text.replace(STRING_OR_NO_NUMBER, (found) => (found.startsWith('"') ? found : "null")));
  }
}
