// The whole flow in one page: start a login with PKCE, redeem the one-time key, ask who is signed in.
// The token stays in this page's memory.

const button = document.getElementById("sign-in");
const statusLine = document.getElementById("status");
const answer = document.getElementById("answer");
const PENDING = "token-broker.pending-login";

const base64url = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

async function startLogin() {
  const { clientId, redirectUri } = button.dataset;
  const pending = { state: random(), verifier: random() };
  const challenge = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(pending.verifier));
  sessionStorage.setItem(PENDING, JSON.stringify(pending));
  location.assign(`/login?${new URLSearchParams({
    client_id: clientId,
    redirect_uri: redirectUri,
    state: pending.state,
    code_challenge: base64url(challenge),
    code_challenge_method: "S256",
  })}`);
}

async function call(path, init) {
  const response = await fetch(path, init);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error_description ?? body.detail);
  return body;
}

// The key leaves the address bar before anything else happens.
function takeResult() {
  const result = new URLSearchParams(location.search + location.hash.replace("#", "&"));
  history.replaceState(null, "", location.pathname);
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "null");
  sessionStorage.removeItem(PENDING);
  return { result, pending };
}

async function completeLogin() {
  const { result, pending } = takeResult();
  const key = result.get(button.dataset.keyParameter);
  if (result.has("error")) throw new Error(result.get("error_description") ?? result.get("error"));
  if (!key) return;
  if (pending === null || result.get("state") !== pending.state) {
    throw new Error("This answer belongs to a login that this tab did not start.");
  }
  statusLine.textContent = "Redeeming the one-time key …";
  const token = await call("/api/get_token", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ one_time_key: key, code_verifier: pending.verifier, client_id: button.dataset.clientId }),
  });
  const me = await call("/api/me", { headers: { Authorization: `Bearer ${token.access_token}` } });
  statusLine.textContent = "Signed in. The broker answers /api/me with:";
  answer.textContent = JSON.stringify(me, null, 2);
  answer.hidden = false;
}

const show = (error) => {
  statusLine.textContent = error.message;
};

if (button) {
  button.addEventListener("click", () => startLogin().catch(show));
  completeLogin().catch(show);
}
