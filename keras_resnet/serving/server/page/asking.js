// What the page asks the server, and what a user can be told of it.

export const $ = (id) => document.getElementById(id);
export class Mistake extends Error {}

export async function ask(path, body) {
  let response, answer;
  try {
    response = await fetch(path, body && { method: "POST", body: JSON.stringify(body) });
    answer = await response.json();
  } catch (error) {
    throw new Mistake("The server does not answer: see whether it still runs, then try again.");
  }
  if (!response.ok) throw new Mistake(`The server refused this: ${answer.error}`);
  return answer;
}

export const path = () => `/v1/models/${encodeURIComponent($("model").value)}`;
export const run = async (signature, inputs) =>
  (await ask(`${path()}:predict`, { signature_name: signature, inputs })).outputs;
export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;

export function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Mistake("The browser cannot read this file: choose it again."));
    reader.readAsDataURL(file);
  });
}

export const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// An image, or null: a picture that the server reads and the browser does not.
export async function pixels(blob) {
  try {
    return await createImageBitmap(blob);
  } catch {
    return null;
  }
}

// The signatures of the chosen model: name -> {inputs, outputs}.
export async function signatures() {
  return (await ask(`${path()}/metadata`)).metadata.signature_def.signature_def;
}
