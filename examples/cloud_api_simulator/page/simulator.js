// What the page orders from the simulator, and what it is told by it.

/** Sends an order to the control plane; throws with its sentence where it is refused. */
export async function order(path, body, method = "POST") {
  const request = { method, headers: { "content-type": "application/json" } };
  if (body !== undefined) request.body = JSON.stringify(body);
  let response;
  try {
    response = await fetch(`/__sim/${path}`, request);
  } catch {
    throw new Error("The simulator does not answer.");
  }
  if (!response.ok) throw new Error(await complaint(response));
  return response.json();
}

/**
 * Listens to what happens. `told` has a function for each name of an event; `connected` is
 * called with true or false.
 */
export function listen(told, connected) {
  const source = new EventSource("/__sim/events");
  source.addEventListener("open", () => connected(true));
  source.addEventListener("error", () => {
    connected(false);
    // The browser connects again by itself, unless it was refused outright.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(told, connected), PAUSE);
  });
  for (const [name, react] of Object.entries(told)) {
    source.addEventListener(name, (event) => react(JSON.parse(event.data)));
  }
}

async function complaint(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text || `The simulator answered ${response.status}.`;
  }
}

const PAUSE = 2000;
